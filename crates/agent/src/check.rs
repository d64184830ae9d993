//! Asking an instance whether it does its work.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use wright_model::{CheckKind, HttpCheck, Name, Operation};
use wright_package::Action;
use wright_protocol::Observation;

use crate::{Settings, command, expect, program::Program};

/// The most of a body that is looked at.
const BODY_KEPT: usize = 256 << 10;

/// What came back.
pub(crate) struct Reply {
    /// What was asked and what came back, in one line.
    pub says: String,
    pub observation: Observation,
    /// Why it is not what was expected; none: it is.
    pub wrong: Option<String>,
}

impl Reply {
    fn good(says: String) -> Self {
        Reply {
            says,
            observation: Observation {
                status: None,
                body: String::new(),
            },
            wrong: None,
        }
    }

    /// Whether the answer is good, with the line that says so.
    pub(crate) fn verdict(self) -> Result<String, String> {
        match self.wrong {
            None => Ok(self.says),
            Some(wrong) => Err(format!("{}: {wrong}", self.says)),
        }
    }
}

/// Asks once.
///
/// # Errors
/// Where there is no answer, why, in one line.
pub(crate) async fn ask(
    settings: &Settings,
    program: &Program,
    kind: &CheckKind,
    timeout: Duration,
) -> Result<Reply, String> {
    let command = |argv: Vec<String>| async move { run(settings, program, &argv, timeout).await };
    match kind {
        CheckKind::Http(check) => {
            let url = url(program, check)?;
            let what = format!("{} {url}", check.method);
            match tokio::time::timeout(timeout, request(program, check)).await {
                Ok(Ok((status, body))) => Ok(http_reply(&what, check, status, &body)),
                Ok(Err(why)) => Err(format!("{what}: {why}")),
                Err(_) => Err(format!("{what}: no answer within {timeout:?}")),
            }
        }
        CheckKind::Tcp(port) => {
            let number = port_number(program, port)?;
            let what = format!(
                "tcp {}",
                std::net::SocketAddr::new(program.spec.address, number)
            );
            let connect = TcpStream::connect((program.spec.address, number));
            match tokio::time::timeout(timeout, connect).await {
                Ok(Ok(_)) => Ok(Reply::good(format!("{what} is accepted"))),
                Ok(Err(error)) => Err(format!("{what}: {error}")),
                Err(_) => Err(format!("{what}: no answer within {timeout:?}")),
            }
        }
        CheckKind::Command(argv) => command(argv.clone()).await,
        CheckKind::Monitor => match program.manifest.operation(Operation::Monitor).action {
            Action::Command(argv) => command(argv).await,
            // The default asks the readiness check; where that is `monitor` again, running is
            // all there is to ask, and only what runs is asked.
            _ => match &program.spec.ready.check {
                CheckKind::Monitor => Ok(Reply::good("it runs".to_owned())),
                other => Box::pin(ask(settings, program, other, timeout)).await,
            },
        },
    }
}

fn port_number(program: &Program, port: &Name) -> Result<u16, String> {
    let ports = &program.spec.ports;
    ports
        .get(port)
        .copied()
        .ok_or_else(|| format!("the instance has no port `{port}`"))
}

fn url(program: &Program, check: &HttpCheck) -> Result<String, String> {
    let port = port_number(program, &check.port)?;
    Ok(format!(
        "http://{}{}",
        std::net::SocketAddr::new(program.spec.address, port),
        check.path
    ))
}

fn http_reply(what: &str, check: &HttpCheck, status: u16, body: &str) -> Reply {
    let wrong = expect::judge(&check.expect, status, body).err();
    let mut says = format!("{what} answered {status}");
    let first = body.lines().map(str::trim).find(|line| !line.is_empty());
    if let (Some(_), Some(line)) = (&wrong, first) {
        says.push_str(": ");
        says.extend(line.chars().take(160));
    }
    Reply {
        says,
        observation: Observation {
            status: Some(status),
            body: body.to_owned(),
        },
        wrong,
    }
}

async fn request(program: &Program, check: &HttpCheck) -> Result<(u16, String), String> {
    let text = |error: &dyn std::error::Error| error.to_string();
    let port = port_number(program, &check.port)?;
    let authority = std::net::SocketAddr::new(program.spec.address, port);
    let stream = TcpStream::connect(authority).await.map_err(|e| text(&e))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|e| text(&e))?;
    let mut request = http::Request::builder()
        .method(check.method.as_str())
        .uri(check.path.as_str())
        .header(http::header::HOST, authority.to_string())
        .header(http::header::USER_AGENT, "wright-agent");
    for (name, value) in &check.headers {
        request = request.header(name, value);
    }
    let body = Full::new(Bytes::from(check.body.clone().unwrap_or_default()));
    let request = request.body(body).map_err(|e| text(&e))?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|e| text(&e))?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), BODY_KEPT)
            .collect()
            .await;
        let body = body.map_err(|e| text(e.as_ref()))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    tokio::pin!(exchange);
    tokio::select! {
        biased;
        answer = &mut exchange => answer,
        // The connection's end comes first where the answer ends with it.
        _ = connection => exchange.await,
    }
}

async fn run(
    settings: &Settings,
    program: &Program,
    argv: &[String],
    timeout: Duration,
) -> Result<Reply, String> {
    let request = program.request(argv).map_err(|fault| fault.message)?;
    let what = format!("`{}`", argv.join(" "));
    let finished = match command::run_check(settings, request, timeout, None).await {
        Ok(Some(finished)) => finished,
        Ok(None) => return Err(format!("{what} took longer than {timeout:?}")),
        Err(fault) => return Err(format!("{what}: {fault}")),
    };
    let wrong = (!finished.succeeded()).then(|| {
        finished
            .last_lines(1)
            .pop()
            .unwrap_or_else(|| "it said nothing".to_owned())
    });
    Ok(Reply {
        says: format!("{what} {}", finished.exit),
        observation: Observation {
            status: None,
            body: String::from_utf8_lossy(&finished.output).into_owned(),
        },
        wrong,
    })
}
