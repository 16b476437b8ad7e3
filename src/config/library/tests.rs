use super::*;
use std::collections::HashSet;

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let root =
            std::env::temp_dir().join(format!("brownout-library-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        for (file, text) in files {
            let path = root.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Self(root)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const FAULT: &str = "# What for.\n[[fault]]\naction = 'stall'\n";

#[test]
fn every_built_in_profile_is_valid_and_explains_itself() {
    let library = Library::builtin();
    assert_eq!(library.broken(), []);
    let folder = Library::open(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/profiles")));
    assert_eq!(folder.broken(), []);
    // The suite in cos/ is for `brownout test`, which has it built in on its own.
    let names = |library: &Library| -> Vec<String> {
        let names = library.iter().map(|profile| profile.name.clone());
        names.filter(|name| !name.starts_with("cos/")).collect()
    };
    assert_eq!(
        names(&library),
        names(&folder),
        "the built-in list and profiles/ differ"
    );
    let mut faults = HashSet::new();
    for profile in library.iter() {
        let words = profile.description.split_whitespace();
        let description = words.collect::<Vec<_>>().join(" ");
        for part in ["built well", "Look for:", "In `brownout stats"] {
            assert!(description.contains(part), "{}: no {part:?}", profile.name);
        }
        assert!(
            profile.summary().ends_with('.'),
            "{}: {}",
            profile.name,
            profile.summary()
        );
        for fault in &profile.faults {
            let name = fault.name().expect("a fault of the library has a name");
            assert!(
                faults.insert(name.to_owned()),
                "{}: another profile has a fault {name:?}: only one of them could be on",
                profile.name
            );
        }
    }
}

#[test]
fn the_built_in_profiles_act_on_the_example() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/brownout.example.toml");
    let config = Config::load(Path::new(example)).unwrap();
    for profile in Library::builtin().iter() {
        assert_eq!(
            profile.check_against(&config.proxies),
            Ok(()),
            "{}",
            profile.name
        );
    }
    let beside = Library::of(&config).unwrap();
    let faults = beside.iter().filter(|p| !p.name.starts_with("cos/"));
    assert_eq!(faults.count(), BUILTIN.len());
}

#[test]
fn names_are_paths_and_broken_files_stop_nobody() {
    let folder = Folder::new(
        "names",
        &[
            ("a.toml", FAULT),
            ("redis/slow.toml", FAULT),
            ("redis/broken.toml", "[[fault]]\naction = 'melt'\n"),
            ("odd name.toml", FAULT),
            ("notes.md", "no profile"),
            (".hidden.toml", "nor this"),
        ],
    );
    let library = Library::open(&folder.0);
    let names: Vec<&str> = library.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(names, ["a", "redis/slow"]);
    let broken: Vec<&str> = library.broken().iter().map(|b| b.name.as_str()).collect();
    assert_eq!(broken.len(), 2, "{broken:?}");
    assert!(broken.contains(&"redis/broken"));
    assert!(
        library.get("redis/broken").unwrap_err().0[0]
            .message
            .contains("melt")
    );
}

#[cfg(unix)]
#[test]
fn circles_of_links_end() {
    let folder = Folder::new("circle", &[("a.toml", FAULT)]);
    std::os::unix::fs::symlink(&folder.0, folder.0.join("again")).unwrap();
    let library = Library::open(&folder.0);
    assert_eq!(library.iter().count(), MAX_DEPTH + 1);
    assert!(
        library.broken()[0]
            .problems
            .to_string()
            .contains("more than 8 folders deep")
    );
}

#[test]
fn unknown_names_get_the_nearest() {
    let library = Library::builtin();
    assert_eq!(library.get("redis-slow").unwrap().name, "redis-slow");
    assert_eq!(
        library.get("redis-slwo").unwrap_err().to_string(),
        "redis-slwo: there is no such profile; did you mean `redis-slow`?"
    );
    assert_eq!(
        library.get("failover").unwrap_err().to_string(),
        "failover: there is no such profile; did you mean `incidents/failover`?"
    );
    assert_eq!(
        library.get("read-only").unwrap_err().to_string(),
        "read-only: there is no such profile; did you mean `incidents/read-only` or `redis/read-only`?"
    );
    assert!(
        library
            .get("xyz")
            .unwrap_err()
            .to_string()
            .contains("there are api-errors, api-slow")
    );
}

#[test]
fn the_folder_beside_the_configuration_comes_before_the_built_in_ones() {
    let folder = Folder::new(
        "beside",
        &[
            ("brownout.toml", "workers = 1"),
            ("profiles/own.toml", FAULT),
        ],
    );
    let config = Config::load(&folder.0.join("brownout.toml")).unwrap();
    let library = Library::of(&config).unwrap();
    assert_eq!(
        library.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["own"]
    );
    let empty = Folder::new(
        "unrelated",
        &[
            ("brownout.toml", "workers = 1"),
            ("profiles/other.toml", "x = 1"),
        ],
    );
    let config = Config::load(&empty.0.join("brownout.toml")).unwrap();
    let library = Library::of(&config).unwrap();
    assert_eq!(
        (library.iter().count(), library.folder()),
        (BUILTIN.len(), None)
    );
}

#[test]
fn a_named_folder_has_to_be_there() {
    let config = Config {
        profiles: Some(PathBuf::from("/nowhere/profiles")),
        ..Config::default()
    };
    assert_eq!(
        Library::of(&config).unwrap_err().to_string(),
        "/nowhere/profiles: there is no such folder of profiles; \
         create it, or leave `profiles` out of the configuration for the built-in ones"
    );
}
