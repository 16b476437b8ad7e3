use super::*;

/// A folder with these files, its path taken out of what is printed.
fn check(
    name: &str,
    files: &[(&str, &str)],
    named: &[&str],
    output: Output,
) -> (u8, String, String) {
    let root = std::env::temp_dir().join(format!("brownout-check-{}-{name}", std::process::id()));
    for (file, text) in files {
        let path = root.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let args = Args {
        files: named.iter().map(|n| root.join(n)).collect(),
        output,
        probe: false,
    };
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let code = run(&args, &mut out, &mut err).unwrap();
    let _ = std::fs::remove_dir_all(&root);
    let plain = |bytes| {
        String::from_utf8(bytes)
            .unwrap()
            .replace(&format!("{}/", root.display()), "")
    };
    (code, plain(out), plain(err))
}

const PROXY: &str = "[[proxy]]\nname = 'redis'\nprotocol = 'redis'\nlisten = 1\nupstream = 'h:1'\n";
const FAULT: &str = "[[fault]]\nproxy = 'redis'\naction = 'stall'\n";
const ELSEWHERE: &str = "[[fault]]\nproxy = 'redsi'\naction = 'stall'\n[load]\nx = 1\n";

#[test]
fn valid_files_get_a_line_each() {
    let files = [
        ("brownout.toml", PROXY),
        ("p/a.toml", FAULT),
        ("p/q/b.toml", FAULT),
    ];
    let (code, out, err) = check("valid", &files, &["brownout.toml", "p"], Output::Text);
    assert_eq!((code, err.as_str()), (0, ""));
    assert_eq!(
        out,
        "brownout.toml: ok: configuration, 1 proxy\np/a.toml: ok: profile, 1 fault\np/q/b.toml: ok: profile, 1 fault\n"
    );
}

#[test]
fn problems_go_to_stderr_and_the_code_is_2() {
    let broken = PROXY.replace("upstream", "upsteam");
    let files = [("brownout.toml", broken.as_str()), ("a.toml", FAULT)];
    let (code, out, err) = check(
        "broken",
        &files,
        &["brownout.toml", "a.toml", "none.toml"],
        Output::Text,
    );
    assert_eq!((code, out.as_str()), (2, "a.toml: ok: profile, 1 fault\n"));
    assert_eq!(
        err,
        "brownout.toml:5:1: proxy[0].upsteam: unknown field `upsteam`; did you mean `upstream`?\n \
         5 | upsteam = 'h:1'\n   | ^^^^^^^\n\
         none.toml: there is no such file; check the path\n"
    );
}

#[test]
fn profiles_are_checked_against_the_configuration_beside_them() {
    let files = [("brownout.toml", PROXY), ("a.toml", ELSEWHERE)];
    let (code, out, _) = check("alone", &files, &["a.toml"], Output::Text);
    assert_eq!(
        (code, out.as_str()),
        (
            0,
            "a.toml: ok: profile, 1 fault; only `brownout test` uses load\n"
        )
    );
    let (code, _, err) = check("beside", &files, &["a.toml", "brownout.toml"], Output::Text);
    assert_eq!(code, 2);
    assert!(
        err.starts_with(
            "a.toml:2:9: fault[0].proxy: no proxy is called \"redsi\"; did you mean \"redis\"?\n"
        ),
        "{err}"
    );
}

#[test]
fn a_named_folder_of_profiles_has_to_be_there() {
    let text = format!("profiles = 'p'\n{PROXY}");
    let (code, _, err) = check(
        "folder",
        &[("brownout.toml", text.as_str())],
        &["brownout.toml"],
        Output::Text,
    );
    assert_eq!(code, 2);
    assert_eq!(
        err,
        "brownout.toml: profiles: there is no folder p; create it, or leave `profiles` out for the built-in ones\n"
    );
}

#[test]
fn a_folder_without_files_is_a_problem() {
    let (code, _, err) = check("nothing", &[("d/notes.md", "")], &["d"], Output::Text);
    assert_eq!(
        (code, err.as_str()),
        (2, "d: there is no *.toml in it; name a file\n")
    );
}

#[test]
fn json_is_one_document() {
    let files = [("brownout.toml", "workers = 0\n"), ("a.toml", FAULT)];
    let (code, out, err) = check("json", &files, &["brownout.toml", "a.toml"], Output::Json);
    assert_eq!((code, err.as_str()), (2, ""));
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "ok": false,
            "files": [
                {
                    "path": "brownout.toml",
                    "kind": "configuration",
                    "ok": false,
                    "problems": [{
                        "path": "brownout.toml",
                        "line": 1,
                        "column": 11,
                        "field": "workers",
                        "message": "it is zero",
                        "remedy": "expected at least 1, or leave it out",
                        "source_line": "workers = 0",
                    }],
                },
                { "path": "a.toml", "kind": "profile", "ok": true, "summary": "profile, 1 fault", "problems": [] },
            ],
        })
    );
}
