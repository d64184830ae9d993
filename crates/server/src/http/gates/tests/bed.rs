use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, body::Body};
use futures::StreamExt as _;
use http::{Method, Request, StatusCode, header};
use serde_json::{Value, json};
use tower_service::Service as _;
use wright_access::{NewToken, TokenSort};

use super::shapes;
use crate::{
    Settings,
    http::{Rooms, router},
    start::{Server, start},
};

/// A server without hosts, and its API without a network between.
pub struct Bed {
    pub rooms: Arc<Rooms>,
    router: Mutex<Router>,
    server: Option<Server>,
    _directory: tempfile::TempDir,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    /// Its media type, without parameters.
    pub media: Option<String>,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Bed {
    pub async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let local = "127.0.0.1:0".parse().unwrap();
        let mut settings = Settings::new(directory.path(), local, local);
        // Hosts that are only written down are not given up.
        settings.dead_after = Duration::from_secs(86_400);
        let server = start(&settings).await.unwrap();
        let rooms = server.rooms.clone();
        Bed {
            router: Mutex::new(router(rooms.clone())),
            rooms,
            server: Some(server),
            _directory: directory,
        }
    }

    pub async fn stop(mut self) {
        let mut server = self.server.take().unwrap();
        server.shutdown.cancel();
        while server.tasks.join_next().await.is_some() {}
    }

    /// Writes a resource, and the rights with it.
    pub async fn put(&self, kind: &str, name: &str, body: Value) {
        self.rooms
            .inventory
            .put_as(kind, name, &body)
            .await
            .unwrap();
        self.rooms.rights.reload().await.unwrap();
    }

    /// A token with roles of its own.
    pub async fn token(&self, roles: &[&str]) -> String {
        let roles = roles.iter().map(ToString::to_string).collect();
        let new = NewToken {
            name: "test".to_owned(),
            roles,
            ..NewToken::default()
        };
        let tokens = &self.rooms.rights.tokens;
        let issued = tokens
            .issue(new, TokenSort::Program, BTreeSet::new(), "test")
            .await;
        issued.unwrap().token
    }

    /// A user who has logged in.
    pub async fn session(&self, user: &str) -> String {
        let new = NewToken {
            name: "session".to_owned(),
            user: Some(user.to_owned()),
            ..NewToken::default()
        };
        let tokens = &self.rooms.rights.tokens;
        let issued = tokens
            .issue(new, TokenSort::Session, BTreeSet::new(), user)
            .await;
        issued.unwrap().token
    }

    /// A role with these rules, bound to a user of the same name, in a team or everywhere; his session.
    pub async fn holder(&self, name: &str, rules: Value, team: Option<&str>) -> String {
        self.put("role", name, json!({ "rules": rules })).await;
        let binding = json!({ "role": name, "users": [name], "team": team });
        self.put("binding", name, binding).await;
        self.put("user", name, json!({})).await;
        self.session(name).await
    }

    pub async fn ask(&self, token: &str, method: &str, path: &str, body: Value) -> Answer {
        let answer = Self::read(self.send(token, method, path, body).await).await;
        shapes::hold(method, path, &answer);
        answer
    }

    /// Asks as the request says.
    pub async fn answer(&self, request: Request<Body>) -> Answer {
        let mut router = self.router.lock().unwrap().clone();
        Self::read(router.call(request).await.unwrap()).await
    }

    async fn read(response: http::Response<Body>) -> Answer {
        let status = response.status();
        let media = response.headers().get(header::CONTENT_TYPE);
        let media = media.and_then(|media| media.to_str().ok()?.split(';').next());
        let media = media.map(str::to_owned);
        let text = match media.as_deref() == Some("text/event-stream") {
            // What is there at once; no more comes by itself.
            true => first_frame(response.into_body()).await,
            false => {
                let bytes = axum::body::to_bytes(response.into_body(), 64 << 20)
                    .await
                    .unwrap();
                String::from_utf8_lossy(&bytes).into_owned()
            }
        };
        Answer {
            status,
            media,
            text,
        }
    }

    pub async fn get(&self, token: &str, path: &str) -> Answer {
        self.ask(token, "GET", path, Value::Null).await
    }

    pub async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Value,
    ) -> http::Response<Body> {
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).unwrap())
            .uri(format!("/api/v1{path}"));
        if !token.is_empty() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let body = match body {
            Value::Null => Body::empty(),
            body => {
                request = request.header(header::CONTENT_TYPE, "application/json");
                Body::from(body.to_string())
            }
        };
        let mut router = self.router.lock().unwrap().clone();
        router.call(request.body(body).unwrap()).await.unwrap()
    }
}

async fn first_frame(body: Body) -> String {
    let mut frames = body.into_data_stream();
    let ready = futures::poll!(frames.next());
    match ready {
        std::task::Poll::Ready(Some(Ok(bytes))) => String::from_utf8_lossy(&bytes).into_owned(),
        _ => String::new(),
    }
}
