//! The members of a cluster, one of which is asked at a time.
//!
//! Everybody asks the same member. Who finds that it does not answer moves all to the next one; what
//! was asked of the old one is asked again there, so only what is safe to repeat may be asked. A
//! probe asks the member in use once a second, so that a frozen one is noticed also by those who only
//! listen.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{
    address::{Address, User},
    fault::{self, Fault},
    wire::{AuthClient, AuthenticateRequest, KvClient, LeaseClient, RangeRequest, WatchClient},
};
use crate::StoreError;

/// How long a request is repeated before it fails.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one member may take for an answer, where the probe finds nothing wrong with it.
const ATTEMPT: Duration = Duration::from_secs(10);
/// How often the member in use is probed, and how long it may take to answer that. Where no member
/// answers in that time, each next one has twice as long, up to [`ATTEMPT`]: all may be slow.
const PROBE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(2));
/// The pause before a request is repeated: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// What etcd knows a user by, until it restarts.
pub(super) type Token = MetadataValue<Ascii>;

/// The member in use. Each change of member, or of the token, is a generation.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub generation: u64,
    index: usize,
    channel: Channel,
    pub token: Option<Token>,
}

impl Member {
    /// For keys. Answers may be as large as etcd makes them.
    pub fn keys(&self) -> KvClient<Channel> {
        KvClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// For watches.
    pub fn watches(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// For leases.
    pub fn leases(&self) -> LeaseClient<Channel> {
        LeaseClient::new(self.channel.clone())
    }

    /// A request by the user.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    async fn authenticated(mut self, user: Option<&User>) -> Result<Self, Status> {
        if let Some(user) = user {
            let who = AuthenticateRequest {
                name: user.name.clone(),
                password: user.password.clone(),
            };
            let answer = AuthClient::new(self.channel.clone())
                .authenticate(who)
                .await?;
            let token = answer.into_inner().token.parse();
            self.token = Some(token.map_err(|_| Status::internal("etcd's token is no text"))?);
        }
        Ok(self)
    }
}

/// An answer, or why there is none.
pub(super) struct Asked<T> {
    pub answer: Result<T, Status>,
    /// Whether the answer of an attempt before this one was lost: it may have had its effect, or may
    /// yet have it.
    pub lost: bool,
}

#[derive(Debug)]
pub(super) struct Cluster {
    address: Address,
    member: watch::Sender<Member>,
}

impl Cluster {
    /// Nobody is asked yet.
    pub fn new(address: Address) -> Arc<Self> {
        let first = Member {
            generation: 0,
            index: 0,
            channel: address.endpoints[0].connect_lazy(),
            token: None,
        };
        let cluster = Arc::new(Cluster {
            member: watch::Sender::new(first),
            address,
        });
        tokio::spawn(probe(Arc::downgrade(&cluster), cluster.follow()));
        cluster
    }

    /// The member in use, and those to come. Ends with the cluster.
    pub fn follow(&self) -> watch::Receiver<Member> {
        self.member.subscribe()
    }

    /// Asks until there is an answer, for [`PATIENCE`]. The request must be safe to repeat.
    pub async fn ask<T, F>(&self, ask: impl Fn(Member) -> F) -> Asked<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.ask_within(PATIENCE, ask).await
    }

    /// [`Cluster::ask`] with the answer in the contract's words, where no error is expected.
    pub async fn must<T, F>(&self, ask: impl Fn(Member) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Status>>,
    {
        self.ask(ask)
            .await
            .answer
            .map_err(|status| fault::error(&status))
    }

    /// [`Cluster::ask`] with another patience.
    pub async fn ask_within<T, F>(&self, patience: Duration, ask: impl Fn(Member) -> F) -> Asked<T>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let deadline = Instant::now() + patience;
        let (mut lost, mut pause) = (false, PAUSE.0);
        loop {
            let status = match self.attempt(&ask).await {
                Ok(answer) => {
                    return Asked {
                        answer: Ok(answer),
                        lost,
                    };
                }
                Err(status) => status,
            };
            let fault = fault::sort(&status);
            lost |= fault == Fault::Lost;
            if fault == Fault::Said || Instant::now() + pause > deadline {
                return Asked {
                    answer: Err(status),
                    lost,
                };
            }
            tracing::debug!(%status, "a member of the etcd cluster is asked again");
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    async fn attempt<T, F>(&self, ask: &impl Fn(Member) -> F) -> Result<T, Status>
    where
        F: Future<Output = Result<T, Status>>,
    {
        let member = self.ready().await?;
        let generation = member.generation;
        let token = member.token.clone();
        let mut follow = self.follow();
        let answer = tokio::select! {
            answer = timeout(ATTEMPT, ask(member)) => answer
                .unwrap_or_else(|_| Err(Status::unavailable("the member did not answer in time"))),
            _ = follow.wait_for(|now| now.generation != generation) =>
                Err(Status::unavailable("the member in use did not answer")),
        };
        match answer.as_ref().map_err(fault::sort) {
            Err(Fault::Lost) => self.move_on(generation),
            Err(Fault::Token) => self.forget_token(token.as_ref()),
            _ => {}
        }
        answer
    }

    /// The member in use, with a token where one is needed.
    async fn ready(&self) -> Result<Member, Status> {
        let member = self.member.borrow().clone();
        let user = self.address.user.as_ref();
        if user.is_none() || member.token.is_some() {
            return Ok(member);
        }
        let generation = member.generation;
        let authenticated = timeout(ATTEMPT, member.authenticated(user)).await;
        let member = match authenticated {
            Ok(Ok(member)) => member,
            Ok(Err(status)) => {
                if fault::sort(&status) == Fault::Lost {
                    self.move_on(generation);
                }
                return Err(status);
            }
            Err(_) => {
                self.move_on(generation);
                return Err(Status::unavailable("the member did not answer in time"));
            }
        };
        // Every member knows the token, also where all have moved on meanwhile. The member in use only
        // knows more: nobody is told.
        self.member.send_if_modified(|now| {
            if now.token.is_none() {
                now.token.clone_from(&member.token);
            }
            false
        });
        Ok(member)
    }

    /// To the next member, unless somebody else did. With one member: to a new connection.
    pub fn move_on(&self, generation: u64) {
        self.member.send_if_modified(|now| {
            if now.generation != generation {
                return false;
            }
            let index = (now.index + 1) % self.address.endpoints.len();
            let endpoint = &self.address.endpoints[index];
            tracing::debug!(to = %endpoint.uri(), "another member of the etcd cluster is asked");
            *now = Member {
                generation: generation + 1,
                index,
                channel: endpoint.connect_lazy(),
                // Every member knows it.
                token: now.token.take(),
            };
            true
        });
    }

    /// The next who asks says anew who it is, unless somebody else did.
    pub fn forget_token(&self, refused: Option<&Token>) {
        self.member.send_if_modified(|now| {
            if now.token.as_ref() == refused {
                now.token = None;
            }
            false
        });
    }
}

/// Asks the member in use for what only a member in touch with the majority can answer.
async fn probe(cluster: Weak<Cluster>, mut follow: watch::Receiver<Member>) {
    let mut patience = PROBE.1;
    loop {
        tokio::select! {
            () = sleep(PROBE.0) => {}
            changed = follow.changed() => {
                if changed.is_err() {
                    return;
                }
                // A new member has its second, too.
                continue;
            }
        }
        let member = follow.borrow().clone();
        let Some(prefix) = cluster
            .upgrade()
            .map(|cluster| cluster.address.prefix.clone())
        else {
            return;
        };
        let any = RangeRequest {
            key: format!("{prefix}c/").into(),
            keys_only: true,
            ..RangeRequest::default()
        };
        let answer = timeout(patience, member.keys().range(member.request(any))).await;
        let lost = match answer {
            Ok(Ok(_)) => false,
            Ok(Err(status)) => fault::sort(&status) == Fault::Lost,
            Err(_) => true,
        };
        patience = if lost {
            (patience * 2).min(ATTEMPT)
        } else {
            PROBE.1
        };
        match cluster.upgrade() {
            Some(cluster) if lost => cluster.move_on(member.generation),
            Some(_) => {}
            None => return,
        }
    }
}
