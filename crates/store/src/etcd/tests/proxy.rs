//! A connection between the store and etcd that loses what it is told to lose.

use std::{io, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
};

/// What happens on the connections there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Everything goes both ways.
    Pass,
    /// The next answer is lost, and its connection with it.
    LoseAnswer,
    /// Requests are kept back until the store has given up the connection.
    KeepBack,
}

/// Requests that were kept back, on a connection that etcd still has.
#[derive(Debug)]
pub struct KeptBack {
    requests: Vec<u8>,
    from: OwnedReadHalf,
    to: OwnedWriteHalf,
}

impl KeptBack {
    /// Sends them, and reads until etcd's answers contain this.
    pub async fn send_until(mut self, wanted: &[u8]) -> io::Result<()> {
        self.to.write_all(&without_resets(&self.requests)).await?;
        let (mut answers, mut buffer) = (Vec::new(), [0; 4096]);
        while !answers.windows(wanted.len()).any(|part| part == wanted) {
            match self.from.read(&mut buffer).await? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => answers.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(())
    }
}

/// How the store takes a request back when it gives up. A frozen member may read that only after it
/// has passed the request on.
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// HTTP/2 frames, each with its kind.
fn frames(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    const HEADER: usize = 9;
    let mut frames = Vec::new();
    while let [high, middle, low, kind, ..] = bytes {
        let length = HEADER + u32::from_be_bytes([0, *high, *middle, *low]) as usize;
        let (frame, next) = bytes.split_at(length.min(bytes.len()));
        frames.push((*kind, frame));
        bytes = next;
    }
    frames
}

fn without_resets(bytes: &[u8]) -> Vec<u8> {
    let mut frames = frames(bytes);
    frames.retain(|(kind, _)| ![RST_STREAM, GOAWAY].contains(kind));
    frames
        .into_iter()
        .flat_map(|(_, frame)| frame)
        .copied()
        .collect()
}

#[derive(Debug)]
pub struct Proxy {
    pub url: String,
    pub mode: Arc<watch::Sender<Mode>>,
    pub kept_back: mpsc::Receiver<KeptBack>,
}

impl Proxy {
    /// Before a member.
    pub async fn start(member: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (sender, kept_back) = mpsc::channel(16);
        let mode = Arc::new(watch::Sender::new(Mode::Pass));
        let proxy = Proxy {
            url: format!("etcd://{}", listener.local_addr()?),
            mode: mode.clone(),
            kept_back,
        };
        let member = member.trim_start_matches("etcd://").to_owned();
        tokio::spawn(async move {
            while let Ok((store, _)) = listener.accept().await {
                let Ok(etcd) = TcpStream::connect(&member).await else {
                    return;
                };
                tokio::spawn(connection(store, etcd, mode.clone(), sender.clone()));
            }
        });
        Ok(proxy)
    }
}

/// Until either side closes it, or the mode says so.
async fn connection(
    store: TcpStream,
    etcd: TcpStream,
    mode: Arc<watch::Sender<Mode>>,
    kept_back: mpsc::Sender<KeptBack>,
) -> io::Result<()> {
    let (mut from_store, mut to_store) = store.into_split();
    let (mut from_etcd, mut to_etcd) = etcd.into_split();
    let (mut requests, mut answers) = ([0; 4096], [0; 4096]);
    let mut kept = Vec::new();
    loop {
        tokio::select! {
            read = from_store.read(&mut requests) => match read.unwrap_or(0) {
                0 => return Ok(()),
                count if !kept.is_empty() || *mode.borrow() == Mode::KeepBack => {
                    kept.extend_from_slice(&requests[..count]);
                    // Those that are made from now on pass.
                    mode.send_replace(Mode::Pass);
                    if frames(&kept).iter().any(|(kind, _)| *kind == RST_STREAM) {
                        let kept = KeptBack { requests: kept, from: from_etcd, to: to_etcd };
                        let _ = kept_back.send(kept).await;
                        return Ok(());
                    }
                }
                count => to_etcd.write_all(&requests[..count]).await?,
            },
            read = from_etcd.read(&mut answers) => match read.unwrap_or(0) {
                0 => return Ok(()),
                count => {
                    let lost = mode.send_if_modified(|now| {
                        let lose = *now == Mode::LoseAnswer;
                        if lose {
                            *now = Mode::Pass;
                        }
                        lose
                    });
                    if lost {
                        return Ok(());
                    }
                    to_store.write_all(&answers[..count]).await?;
                }
            },
        }
    }
}
