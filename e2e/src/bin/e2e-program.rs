//! The program that end-to-end tests deploy: an HTTP server that behaves as its configuration says.
//!
//! `e2e-program FILE`, where FILE has a word a line: `listen ADDRESS:PORT`, then any of
//! `exit-at-once`, `never-ready`, `ready-after MILLISECONDS`, `record FILE` (append a line there at
//! the start), `say TEXT` (answer `/` with it).

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

struct Behaviour {
    listen: String,
    never_ready: bool,
    ready_after: Duration,
    say: String,
    started: Instant,
}

fn main() -> ExitCode {
    let Some(file) = std::env::args().nth(1) else {
        eprintln!("usage: e2e-program FILE");
        return ExitCode::from(2);
    };
    match serve(&file) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(file: &str) -> std::io::Result<ExitCode> {
    let mut behaviour = Behaviour {
        listen: String::new(),
        never_ready: false,
        ready_after: Duration::ZERO,
        say: "hello".to_owned(),
        started: Instant::now(),
    };
    for line in fs::read_to_string(file)?.lines() {
        let (word, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        match word {
            "listen" => rest.clone_into(&mut behaviour.listen),
            "never-ready" => behaviour.never_ready = true,
            "ready-after" => {
                behaviour.ready_after = Duration::from_millis(rest.parse().unwrap_or(0))
            }
            "say" => rest.clone_into(&mut behaviour.say),
            "record" => {
                let mut out = fs::OpenOptions::new()
                    .append(true)
                    .create(true)
                    .open(rest)?;
                let instance = std::env::var("WRIGHT_INSTANCE").unwrap_or_default();
                out.write_all(format!("{instance} run {}\n", std::process::id()).as_bytes())?;
            }
            "exit-at-once" => {
                eprintln!("this program exits at once, as it was told to");
                return Ok(ExitCode::from(3));
            }
            _ => {}
        }
    }
    let listener = TcpListener::bind(&behaviour.listen)?;
    println!("listening on {}", behaviour.listen);
    let behaviour = Arc::new(behaviour);
    for stream in listener.incoming().flatten() {
        let behaviour = behaviour.clone();
        std::thread::spawn(move || answer(&behaviour, stream));
    }
    Ok(ExitCode::SUCCESS)
}

fn answer(behaviour: &Behaviour, mut stream: TcpStream) -> std::io::Result<()> {
    let mut request = String::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    reader.read_line(&mut request)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let ready = !behaviour.never_ready && behaviour.started.elapsed() >= behaviour.ready_after;
    let (status, body) = match request.split(' ').nth(1) {
        Some("/healthz") if ready => ("200 OK", "ready".to_owned()),
        Some("/healthz") => ("503 Service Unavailable", "not ready yet".to_owned()),
        Some("/") => ("200 OK", format!("{{\"say\":\"{}\"}}", behaviour.say)),
        _ => ("404 Not Found", String::new()),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
