//! Against a real OpenID provider: npm `oidc-provider`, installed below `target`.

use std::{path::PathBuf, process::Stdio};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    sync::OnceCell,
};

use crate::http::gates::tests::bed::{Answer, Bed};

const PROGRAM: &str = "oidc-provider@8.8.1";
const BACK: &str = "http://127.0.0.1:9/back";

struct Idp {
    issuer: String,
    _process: Child,
}

fn directory() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or(root, PathBuf::from);
    target.join("oidc-provider")
}

static INSTALLED: OnceCell<PathBuf> = OnceCell::const_new();

/// Once, however many tests need it.
async fn install() -> PathBuf {
    let home = directory();
    let installed = home.join("installed");
    if std::fs::read_to_string(&installed).is_ok_and(|program| program == PROGRAM) {
        return home;
    }
    std::fs::create_dir_all(&home).unwrap();
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-audit", "--no-fund", "--prefix"]);
    let done = npm.arg(&home).arg(PROGRAM).status().await;
    assert!(
        done.expect("npm (Debian: npm) installs the provider")
            .success()
    );
    std::fs::write(home.join("provider.mjs"), include_str!("provider.mjs")).unwrap();
    std::fs::write(installed, PROGRAM).unwrap();
    home
}

impl Idp {
    async fn start() -> Self {
        let home = INSTALLED.get_or_init(install).await;
        let mut node = Command::new("node");
        node.arg("provider.mjs")
            .current_dir(home)
            .kill_on_drop(true);
        let mut process = node
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let issuer = loop {
            let line = lines
                .next_line()
                .await
                .unwrap()
                .expect("the provider says where it is");
            if line.starts_with("http://") {
                break line;
            }
        };
        // It goes on talking, and would die of nobody listening.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Idp {
            issuer,
            _process: process,
        }
    }

    /// What a browser does: goes where it is sent until it is sent back.
    async fn browse(&self, url: &str) -> String {
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let (mut url, mut cookies) = (url.to_owned(), Vec::<String>::new());
        while !url.starts_with(BACK) {
            let request = Request::get(&url)
                .header(header::COOKIE, cookies.join("; "))
                .body(Full::default())
                .unwrap();
            let response = client.request(request).await.unwrap();
            for cookie in response.headers().get_all(header::SET_COOKIE) {
                let cookie = cookie
                    .to_str()
                    .unwrap()
                    .split(';')
                    .next()
                    .unwrap()
                    .to_owned();
                let name = cookie.split('=').next().unwrap().to_owned() + "=";
                cookies.retain(|old| !old.starts_with(&name));
                cookies.push(cookie);
            }
            let next = response.headers().get(header::LOCATION).cloned();
            let Some(next) = next else {
                let body = response.into_body().collect().await.unwrap().to_bytes();
                panic!("{url}: {}", String::from_utf8_lossy(&body));
            };
            let next = next.to_str().unwrap();
            url = match next.starts_with('/') {
                true => format!("{}{next}", self.issuer),
                false => next.to_owned(),
            };
        }
        url
    }
}

async fn bed(idp: &Idp) -> Bed {
    let bed = Bed::start().await;
    let body = json!({ "issuer": idp.issuer, "client-id": "wright" });
    bed.put("identity-provider", "company", body).await;
    bed
}

async fn begin(bed: &Bed) -> Value {
    let begun = bed
        .ask("", "POST", "/login/oidc", json!({ "redirect": BACK }))
        .await;
    assert_eq!(begun.status, 200, "{begun:?}");
    begun.json()
}

fn param(url: &str, name: &str) -> String {
    let query = url.split_once('?').unwrap().1;
    let found = query
        .split('&')
        .find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap().to_owned()
}

async fn end(bed: &Bed, back: &str) -> Answer {
    let body = json!({ "state": param(back, "state"), "code": param(back, "code") });
    bed.ask("", "POST", "/login/oidc/back", body).await
}

#[tokio::test]
async fn who_logs_in_at_the_provider_has_the_roles_of_his_groups_and_each_code_works_once() {
    let idp = Idp::start().await;
    let bed = bed(&idp).await;
    bed.put(
        "binding",
        "ops",
        json!({ "role": "operator", "groups": ["ops"] }),
    )
    .await;
    let begun = begin(&bed).await;
    let back = idp.browse(begun["url"].as_str().unwrap()).await;
    let session = end(&bed, &back).await;
    assert_eq!(session.status, 200, "{session:?}");
    let token = session.json()["token"].as_str().unwrap().to_owned();
    let me = bed.get(&token, "/whoami").await.json();
    assert_eq!(me["user"], "ada");
    assert_eq!(me["roles"], json!([{ "role": "operator", "teams": null }]));
    let user = bed.get(&token, "/resources/user/ada").await.json();
    assert_eq!(user["body"]["full-name"], "Ada Lovelace");
    assert_eq!(user["body"]["identity"], format!("{}#ada", idp.issuer));
    assert_eq!(end(&bed, &back).await.status, StatusCode::UNAUTHORIZED);

    // The second time he is known; disabled, he stays outside.
    let again = idp.browse(begin(&bed).await["url"].as_str().unwrap()).await;
    assert_eq!(end(&bed, &again).await.status, 200);
    let admin = bed.token(&["administrator"]).await;
    bed.ask(&admin, "PUT", "/users/ada", json!({ "disabled": true }))
        .await;
    let again = idp.browse(begin(&bed).await["url"].as_str().unwrap()).await;
    assert_eq!(end(&bed, &again).await.status, 403);
    bed.stop().await;
}

#[tokio::test]
async fn a_local_users_name_is_not_given_to_whom_the_provider_calls_so() {
    let idp = Idp::start().await;
    let bed = bed(&idp).await;
    bed.put("user", "ada", json!({ "full-name": "another Ada" }))
        .await;
    let back = idp.browse(begin(&bed).await["url"].as_str().unwrap()).await;
    assert_eq!(end(&bed, &back).await.status, 409);
    bed.stop().await;
}

#[tokio::test]
async fn a_code_of_one_login_does_not_end_another() {
    let idp = Idp::start().await;
    let bed = bed(&idp).await;
    let mine = begin(&bed).await;
    let others = idp.browse(begin(&bed).await["url"].as_str().unwrap()).await;
    let body = json!({ "state": mine["state"], "code": param(&others, "code") });
    let mixed = bed.ask("", "POST", "/login/oidc/back", body).await;
    // The provider does not give a token without the verifier of the login that the code is of.
    assert_eq!(mixed.status, 502, "{mixed:?}");
    let unknown = json!({ "state": "x", "code": "y" });
    assert_eq!(
        bed.ask("", "POST", "/login/oidc/back", unknown)
            .await
            .status,
        401
    );
    bed.stop().await;
}
