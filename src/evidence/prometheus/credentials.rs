//! Who gate is to the server. Secrets come from the environment and from files, never from a policy.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use reqwest::{Certificate, ClientBuilder, Identity};

/// The longest file of credentials that is read, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;

const TOKEN: &str = "GATE_PROMETHEUS_TOKEN";
const TOKEN_FILE: &str = "GATE_PROMETHEUS_TOKEN_FILE";
const USER: &str = "GATE_PROMETHEUS_USER";
const PASSWORD: &str = "GATE_PROMETHEUS_PASSWORD";
const PASSWORD_FILE: &str = "GATE_PROMETHEUS_PASSWORD_FILE";
const CA_FILE: &str = "GATE_PROMETHEUS_CA_FILE";
const CERT_FILE: &str = "GATE_PROMETHEUS_CERT_FILE";
const KEY_FILE: &str = "GATE_PROMETHEUS_KEY_FILE";

/// How to log in, and whom to trust.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub login: Login,
    /// PEM; in place of the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// PEM: certificate and key of this client.
    pub identity: Option<IdentityFiles>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Login {
    #[default]
    None,
    Token(Secret),
    Basic {
        user: String,
        password: Secret,
    },
}

/// A secret, or the file that holds it. A file is read at every question, because tokens rotate.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Text(String),
    File(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
}

/// Why there are no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    #[error("{one} and {other} are both set: keep one")]
    Both { one: &'static str, other: &'static str },
    #[error("{one} is set without {other}")]
    Half { one: &'static str, other: &'static str },
    #[error("{path} can't be read: {why}")]
    File { path: String, why: String },
    #[error("{path} is longer than {FILE_BYTES_MAX} bytes")]
    TooLarge { path: String },
    #[error("the token has signs that can't stand in a header")]
    NotAHeader,
    #[error("{path} is not the PEM of {of}: {why}")]
    Pem { path: String, of: &'static str, why: String },
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(…)"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

impl Credentials {
    /// Reads them from variables of the environment, given as a function of the name.
    ///
    /// # Errors
    /// Two ways to log in, or half of one.
    pub fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialsError> {
        let var = |name| var(name).filter(|value| !value.is_empty());
        let file = |name| var(name).map(PathBuf::from);
        let token = secret(&var, TOKEN, TOKEN_FILE)?;
        let password = secret(&var, PASSWORD, PASSWORD_FILE)?;
        let login = match (token, var(USER), password) {
            (None, None, None) => Login::None,
            (Some(token), None, None) => Login::Token(token),
            (None, Some(user), Some(password)) => Login::Basic { user, password },
            (None, Some(_), None) => {
                return Err(CredentialsError::Half { one: USER, other: PASSWORD });
            }
            (None, None, Some(_)) => {
                return Err(CredentialsError::Half { one: PASSWORD, other: USER });
            }
            (Some(_), Some(_), _) => {
                return Err(CredentialsError::Both { one: TOKEN, other: USER });
            }
            (Some(_), None, Some(_)) => {
                return Err(CredentialsError::Both { one: TOKEN, other: PASSWORD });
            }
        };
        let identity = match (file(CERT_FILE), file(KEY_FILE)) {
            (None, None) => None,
            (Some(cert), Some(key)) => Some(IdentityFiles { cert, key }),
            (Some(_), None) => {
                return Err(CredentialsError::Half { one: CERT_FILE, other: KEY_FILE });
            }
            (None, Some(_)) => {
                return Err(CredentialsError::Half { one: KEY_FILE, other: CERT_FILE });
            }
        };
        Ok(Self { login, ca_file: file(CA_FILE), identity })
    }

    /// Reads them from the environment of this process.
    ///
    /// # Errors
    /// Two ways to log in, or half of one.
    pub fn of_process() -> Result<Self, CredentialsError> {
        Self::from_env(|name| std::env::var(name).ok())
    }

    /// Adds the authorities that are trusted, and this client's certificate.
    pub(super) fn add_certificates(
        &self,
        mut builder: ClientBuilder,
    ) -> Result<ClientBuilder, CredentialsError> {
        if let Some(path) = &self.ca_file {
            let pem = read(path)?;
            let roots = Certificate::from_pem_bundle(&pem)
                .map_err(|error| not_pem(path, "certificates", &error))?;
            builder = builder.tls_certs_only(roots);
        }
        if let Some(IdentityFiles { cert, key }) = &self.identity {
            let pem = [read(key)?, b"\n".to_vec(), read(cert)?].concat();
            let identity = Identity::from_pem(&pem)
                .map_err(|error| not_pem(cert, "a certificate with its key", &error))?;
            builder = builder.identity(identity);
        }
        Ok(builder)
    }
}

impl Login {
    /// Returns the `Authorization` of one question.
    ///
    /// # Errors
    /// A secret's file can't be read, or the secret can't stand in a header.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, CredentialsError> {
        let text = match self {
            Self::None => return Ok(None),
            Self::Token(token) => format!("Bearer {}", token.reveal()?),
            Self::Basic { user, password } => {
                let pair = format!("{user}:{}", password.reveal()?);
                format!("Basic {}", BASE64_STANDARD.encode(pair))
            }
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| CredentialsError::NotAHeader)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Secret {
    fn reveal(&self) -> Result<String, CredentialsError> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::File(path) => {
                let text =
                    String::from_utf8(read(path)?).map_err(|error| file_error(path, &error))?;
                Ok(text.trim().to_owned())
            }
        }
    }
}

fn secret(
    var: &impl Fn(&'static str) -> Option<String>,
    name: &'static str,
    file: &'static str,
) -> Result<Option<Secret>, CredentialsError> {
    match (var(name), var(file)) {
        (None, None) => Ok(None),
        (Some(text), None) => Ok(Some(Secret::Text(text))),
        (None, Some(path)) => Ok(Some(Secret::File(path.into()))),
        (Some(_), Some(_)) => Err(CredentialsError::Both { one: name, other: file }),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, CredentialsError> {
    let length = std::fs::metadata(path).map_err(|error| file_error(path, &error))?.len();
    if length > FILE_BYTES_MAX {
        return Err(CredentialsError::TooLarge { path: path.display().to_string() });
    }
    std::fs::read(path).map_err(|error| file_error(path, &error))
}

fn file_error(path: &Path, why: &impl fmt::Display) -> CredentialsError {
    CredentialsError::File { path: path.display().to_string(), why: why.to_string() }
}

fn not_pem(path: &Path, of: &'static str, why: &reqwest::Error) -> CredentialsError {
    CredentialsError::Pem { path: path.display().to_string(), of, why: super::answer::root(why) }
}
