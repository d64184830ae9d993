//! Where services are: answered from the agent's own copy of the table, also when the server is
//! gone.

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use wright_model::Problem;
use wright_route::Table;

use crate::{AgentError, durable, error::locked};

/// The service table, as the server sent it last.
#[derive(Clone)]
pub(crate) struct Services {
    path: PathBuf,
    table: Arc<Mutex<Arc<Table>>>,
}

impl Services {
    /// Reads the copy on disk. A damaged one counts for nothing: the server sends another.
    pub(crate) fn load(path: &Path) -> Self {
        let table = match durable::read_json::<Table>(path) {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "the service table is not readable");
                Table::default()
            }
        };
        Services {
            path: path.to_owned(),
            table: Arc::new(Mutex::new(Arc::new(table))),
        }
    }

    pub(crate) fn revision(&self) -> u64 {
        self.current().revision
    }

    /// The one that lookups are answered from.
    pub(crate) fn current(&self) -> Arc<Table> {
        locked(&self.table).clone()
    }

    /// Answers from this table from now on, and after a restart.
    pub(crate) fn replace(&self, table: Table) -> std::io::Result<()> {
        let written = durable::write_json(&self.path, &table);
        // A full disk does not keep anybody from the newest answers.
        *locked(&self.table) = Arc::new(table);
        written
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        if method != Method::GET && method != Method::HEAD {
            return problem(
                405,
                "method",
                "Method not allowed",
                "only GET is answered here".to_owned(),
            );
        }
        if path == "/healthz" {
            return json(
                StatusCode::OK,
                "application/json",
                b"{\"status\":\"ok\"}".to_vec(),
            );
        }
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let ["v1", "sites", site, "services", service] = parts[..] else {
            let detail = format!("{path} is not served; ask for /v1/sites/SITE/services/SERVICE");
            return problem(404, "no-such-path", "No such path", detail);
        };
        match self.current().lookup(site, service) {
            Some(answer) => match serde_json::to_vec(&answer) {
                Ok(body) => json(StatusCode::OK, "application/json", body),
                Err(error) => problem(500, "internal", "Internal error", error.to_string()),
            },
            None => problem(
                404,
                "no-such-service",
                "No such service",
                format!("nobody provides {service} in site {site}"),
            ),
        }
    }
}

fn problem(status: u16, kind: &str, title: &str, detail: String) -> Response<Full<Bytes>> {
    let body = serde_json::to_vec(&Problem::new(status, kind, title, detail)).unwrap_or_default();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    json(status, "application/problem+json", body)
}

fn json(status: StatusCode, kind: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

/// Listens; [`serve`] answers.
pub(crate) async fn listen(address: SocketAddr) -> Result<TcpListener, AgentError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AgentError::Listen { address, source })
}

/// Answers for as long as it is polled.
pub(crate) async fn serve(listener: TcpListener, services: Services) -> Infallible {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors: it passes, and trying at once would only burn time.
                tracing::warn!(%error, "cannot accept a lookup");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        let services = services.clone();
        tokio::spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| {
                let response = services.answer(request.method(), request.uri().path());
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), answer);
            // A caller that goes away in the middle is no event.
            let _ = connection.await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = br#"{ "revision": 7, "sites": { "shop": { "catalog": [
        { "instance": "catalog-1", "host": "h3", "address": "127.77.0.3", "ports": { "http": 8080 } }
    ] } } }"#;

    #[test]
    fn the_table_survives_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("services.json");
        Services::load(&path)
            .replace(Table::from_json(TABLE).unwrap())
            .unwrap();
        let services = Services::load(&path);
        assert_eq!(services.revision(), 7);
        let answer = services.answer(&Method::GET, "/v1/sites/shop/services/catalog");
        assert_eq!(answer.status(), 200);
    }

    #[test]
    fn a_service_nobody_provides_is_a_problem() {
        let services = Services::load(Path::new("/nonexistent"));
        for path in [
            "/v1/sites/shop/services/catalog",
            "/",
            "/v1/sites/shop",
            "/../etc/passwd",
        ] {
            let answer = services.answer(&Method::GET, path);
            assert_eq!(answer.status(), 404, "{path}");
            assert_eq!(
                answer.headers()[header::CONTENT_TYPE],
                "application/problem+json"
            );
        }
        assert_eq!(services.answer(&Method::POST, "/healthz").status(), 405);
        assert_eq!(services.answer(&Method::GET, "/healthz").status(), 200);
    }
}
