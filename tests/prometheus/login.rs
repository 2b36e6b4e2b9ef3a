//! Who gate is to the server: certificates of both sides and a password, at a real Prometheus; a token.

use std::path::{Path, PathBuf};

use gate::evidence::presets::Preset;
use gate::evidence::prometheus::answer::{Data, QueryError};
use gate::evidence::prometheus::credentials::{IdentityFiles, Login, Secret};
use gate::evidence::prometheus::{Credentials, CredentialsError, Source};

use crate::real::{RealPrometheus, Setup};
use crate::server::{Says, Server};

/// bcrypt of `correct horse`.
const HASH: &str = "$2b$04$QvDX7oyE2uyJ76dlNAH1u.4UT2irT0.AVTP3AuucnIJ5weaJjTBmi";

/// Made for these tests, valid until 2126; the authority's key was thrown away.
fn tls(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/prometheus/tls").join(file)
}

fn identity() -> IdentityFiles {
    IdentityFiles { cert: tls("client.pem"), key: tls("client.key") }
}

fn password(text: &str) -> Login {
    Login::Basic { user: "gate".into(), password: Secret::Text(text.into()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_passwords_open_a_locked_prometheus() {
    let [cert, key, ca] =
        ["server.pem", "server.key", "ca.pem"].map(|file| tls(file).display().to_string());
    let web = format!(
        "tls_server_config: {{cert_file: {cert}, key_file: {key}, client_ca_file: {ca}, client_auth_type: RequireAndVerifyClientCert}}\nbasic_auth_users: {{gate: {HASH}}}\n"
    );
    let Some(prometheus) = RealPrometheus::start(Setup { web: Some(web), ..Setup::default() })
    else {
        return;
    };
    let url = format!("https://{}", prometheus.address());
    let source =
        |credentials: Credentials| Source::new(&url, Preset::DEFAULT, &credentials).unwrap();
    let right = Credentials {
        login: password("correct horse"),
        ca_file: Some(tls("ca.pem")),
        identity: Some(identity()),
    };
    prometheus.until(&source(right.clone()), "vector(1)").await;
    let refused =
        async |credentials: Credentials| source(credentials).ask("vector(1)").await.unwrap_err();
    let error = refused(Credentials { login: password("battery staple"), ..right.clone() }).await;
    assert_eq!(error, QueryError::Forbidden { status: 401 });
    let error = refused(Credentials { ca_file: Some(tls("other-ca.pem")), ..right.clone() }).await;
    assert!(error.to_string().contains("ertificate"), "{error}");
    let error = refused(Credentials { identity: None, ..right.clone() }).await;
    assert!(error.to_string().contains("ertificate"), "{error}");
    assert!(error.is_source_dead());
    let plain = Source::new(&prometheus.url(), Preset::DEFAULT, &right).unwrap();
    assert_eq!(plain.ask("vector(1)").await, Err(QueryError::Status { status: 400 }));
}

#[tokio::test]
async fn a_token_is_read_anew_at_every_question() {
    let server = Server::start(Says::json(
        r#"{"status":"success","data":{"resultType":"vector","result":[]}}"#,
    ))
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    let credentials =
        Credentials { login: Login::Token(Secret::File(file.clone())), ..Credentials::default() };
    let source = Source::new(&server.url(), Preset::DEFAULT, &credentials).unwrap();
    let missing = source.ask("up").await.unwrap_err();
    assert!(matches!(missing, QueryError::Credentials(CredentialsError::File { .. })), "{missing}");
    for token in ["first", "second"] {
        std::fs::write(&file, format!("{token}\n")).unwrap();
        assert_eq!(source.ask("up").await, Ok(Data::Vector(Vec::new())));
    }
    let authorization = |request: &String| {
        request.lines().find_map(|line| line.strip_prefix("authorization: ").map(str::to_owned))
    };
    let sent: Vec<String> = server.asked().iter().filter_map(authorization).collect();
    assert_eq!(sent, ["Bearer first", "Bearer second"]);
    assert!(!format!("{source:?} {credentials:?}").contains("second"));
}
