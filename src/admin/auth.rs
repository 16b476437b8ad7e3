//! Tokens and roles: who may read, who may operate faults, who may change proxies.

use super::problem::Problem;
use hyper::StatusCode;
use hyper::header::{AUTHORIZATION, HeaderMap};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use subtle::ConstantTimeEq;

/// The fewest characters of a token: 32 hexadecimal digits are 128 bits.
const SHORTEST: usize = 32;
/// The most characters of a token.
const LONGEST: usize = 512;
/// The fewest different characters: what a person types over and over is no secret.
const DIFFERENT: usize = 8;
/// The most bytes of a file of tokens.
const FILE_LIMIT: u64 = 64 * 1024;

/// What somebody may do; each role may do what those before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Look.
    Read,
    /// Switch faults on and off, and proxies.
    Operate,
    /// Create, change and remove proxies; resume after a halt.
    Admin,
}

impl Role {
    /// As it is written.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Read, Self::Operate, Self::Admin]
            .into_iter()
            .find(|role| role.name() == text)
    }
}

/// Who asks, as far as is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Who {
    pub(super) role: Role,
    /// Where tokens are needed: the beginning of its digest, which tells tokens apart and gives none away.
    pub(super) token: Option<String>,
}

/// One token. Only its digest is kept.
struct Token {
    role: Role,
    digest: [u8; 32],
}

/// The tokens that are accepted.
pub(super) struct Tokens(Vec<Token>);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.0.len())
    }
}

impl Tokens {
    /// Reads a file of lines `ROLE:TOKEN`. Empty lines and those that begin with `#` are passed over.
    ///
    /// # Errors
    /// What is wrong, and where; never the token.
    pub(super) fn load(path: &Path) -> Result<Self, String> {
        let fail = |what: &str| format!("{}: {what}", path.display());
        let mut file = std::fs::File::open(path).map_err(|e| fail(&e.to_string()))?;
        let meta = file.metadata().map_err(|e| fail(&e.to_string()))?;
        if !meta.is_file() {
            return Err(fail("it is no file"));
        }
        if meta.mode() & 0o077 != 0 {
            let mode = meta.mode() & 0o777;
            return Err(fail(&format!(
                "others may read or write it (mode {mode:03o}); chmod 600"
            )));
        }
        let mut text = String::new();
        let read = file.by_ref().take(FILE_LIMIT).read_to_string(&mut text);
        read.map_err(|e| fail(&e.to_string()))?;
        Self::parse(&text).map_err(|what| fail(&what))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fail = |what: String| format!("line {number}: {what}");
            let split = line
                .split_once(':')
                .and_then(|(role, token)| Some((Role::parse(role.trim())?, token.trim())));
            let (role, token) = split.ok_or_else(|| {
                fail("expected ROLE:TOKEN, where ROLE is read, operate or admin".into())
            })?;
            if !(SHORTEST..=LONGEST).contains(&token.len())
                || !token.bytes().all(|b| b.is_ascii_graphic())
                || token.bytes().collect::<HashSet<_>>().len() < DIFFERENT
            {
                return Err(fail(format!(
                    "a token is {SHORTEST} to {LONGEST} random characters without spaces; make one with `openssl rand -hex 32`"
                )));
            }
            let digest = Sha256::digest(token).into();
            tokens.push(Token { role, digest });
        }
        if tokens.is_empty() {
            return Err("there is no token in it; write a line like admin:TOKEN".into());
        }
        Ok(Self(tokens))
    }

    /// Who brings a token. Every token is compared, whole, whatever is brought.
    ///
    /// # Errors
    /// 401.
    pub(super) fn who(&self, headers: &HeaderMap) -> Result<Who, Problem> {
        let refuse =
            |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, detail).field("Authorization");
        let mut brought = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (brought.next(), brought.next()) else {
            return Err(refuse(
                "exactly one Authorization header is needed: Bearer TOKEN",
            ));
        };
        let token = value
            .as_bytes()
            .split_at_checked(7)
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "))
            .map(|(_, token)| token);
        let token = token.ok_or_else(|| refuse("expected Authorization: Bearer TOKEN"))?;
        let digest: [u8; 32] = Sha256::digest(token).into();
        let mut found = None;
        for known in &self.0 {
            if bool::from(known.digest.ct_eq(&digest)) {
                found = found.max(Some(known.role));
            }
        }
        let role = found.ok_or_else(|| refuse("this token is not known"))?;
        let id = crate::audit::hex(&digest[..4]);
        Ok(Who {
            role,
            token: Some(id),
        })
    }
}

impl Who {
    /// Whoever asks where no token is needed: the operating system has looked already.
    pub(super) const fn local() -> Self {
        Self {
            role: Role::Admin,
            token: None,
        }
    }

    /// Whether they may do what asks for a role.
    ///
    /// # Errors
    /// 403.
    pub(super) fn may(&self, role: Role) -> Result<(), Problem> {
        if self.role >= role {
            return Ok(());
        }
        let (has, needs) = (self.role.name(), role.name());
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            format!("this token has the role {has}, and this takes {needs}"),
        )
        .field("Authorization"))
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.token {
            Some(token) => write!(f, "{}:{token}", self.role.name()),
            None => f.write_str("local"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: &str = "0123456789abcdef0123456789abcdef";
    const ADMIN: &str = "fedcba9876543210fedcba9876543210";

    fn who(header: &str) -> Result<Who, u16> {
        let tokens = Tokens::parse(&format!("# two\nread:{READ}\n\nadmin: {ADMIN}\n")).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, header.parse().unwrap());
        tokens.who(&headers).map_err(|p| p.status().as_u16())
    }

    #[test]
    fn a_token_has_the_role_of_its_line() {
        let reader = who(&format!("Bearer {READ}")).unwrap();
        assert_eq!(reader.role, Role::Read);
        assert!(reader.may(Role::Read).is_ok());
        assert!(reader.may(Role::Operate).is_err());
        let admin = who(&format!("bearer {ADMIN}")).unwrap();
        assert_eq!(admin.role, Role::Admin);
        assert!(admin.may(Role::Admin).is_ok());
        assert!(
            !admin.to_string().contains(&ADMIN[..8]),
            "a digest, not the token"
        );
    }

    #[test]
    fn what_is_no_token_of_ours_is_refused() {
        let short = &READ[..31];
        for header in [
            "",
            "Bearer",
            "Bearer ",
            READ,
            &format!("Basic {READ}"),
            &format!("Bearer {short}"),
            &format!("Bearer {READ}0"),
            &format!("Bearer {READ} "),
            &format!("Bearer  {READ}"),
        ] {
            // A header's value ends before its trailing spaces (RFC 9110, section 5.5); none reach us over the wire.
            assert_eq!(who(header), Err(401), "{header:?}");
        }
    }

    #[test]
    fn weak_files_are_refused_and_tell_no_token() {
        for (text, part) in [
            (String::new(), "no token"),
            (READ.to_owned(), "line 1: expected ROLE:TOKEN"),
            (format!("root:{READ}"), "read, operate or admin"),
            (format!("read:{}", &READ[..31]), "32 to 512"),
            (format!("read:{}", "a".repeat(40)), "random"),
            (format!("read:{READ} {READ}"), "without spaces"),
        ] {
            let error = Tokens::parse(&text).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains(&READ[..16]), "{error}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("brownout-tokens-{}", std::process::id()));
        std::fs::write(&path, format!("read:{READ}\n")).unwrap();
        let with = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Tokens::load(&path)
        };
        assert!(with(0o640).unwrap_err().contains("chmod 600"));
        assert!(with(0o602).is_err());
        assert!(with(0o600).is_ok());
        std::fs::remove_file(&path).unwrap();
        assert!(
            Tokens::load(Path::new("/dev/null"))
                .unwrap_err()
                .contains("no file")
        );
    }
}
