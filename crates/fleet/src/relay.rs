//! This server's sessions as other servers follow them: the callee's side of `Peer`.

use tokio::{
    sync::mpsc,
    time::{Duration, Instant},
};
use tokio_stream::{StreamExt as _, wrappers::UnboundedReceiverStream};
use tonic::{Request, Response, Status, Streaming};
use wright_model::Name;
use wright_pki::is_server;
use wright_protocol::wire::{
    self, AppliedAnswer, AppliedRequest, ArchiveRequest, Kept, PeerNews, PeerOrder,
    from_agent::Message as Said, peer_server, to_agent::Message,
};

use crate::{
    error::NotApplied,
    fleet::{Fleet, Shared, State},
    service::{ArchiveStream, Door, digest_of},
};

impl Door {
    fn admit_server<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let certificates = request.peer_certs();
        let certificate = certificates.as_ref().and_then(|chain| chain.first());
        match certificate {
            Some(certificate) if is_server(certificate) => Ok(()),
            _ => Err(Status::permission_denied("only servers may ask this")),
        }
    }
}

#[tonic::async_trait]
impl peer_server::Peer for Door {
    type FollowStream =
        tokio_stream::adapters::Map<UnboundedReceiverStream<PeerNews>, fn(PeerNews) -> Told>;
    type ArchiveStream = ArchiveStream;

    async fn follow(
        &self,
        request: Request<Streaming<PeerOrder>>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        self.admit_server(&request)?;
        let mut orders = request.into_inner();
        let (number, news) = self.shared.open_relay();
        let (shared, shutdown) = (self.shared.clone(), self.shutdown.clone());
        tokio::spawn(async move {
            let pass = async {
                while let Ok(Some(order)) = orders.message().await {
                    shared.pass_order(number, order);
                }
            };
            shutdown.run_until_cancelled(pass).await;
            shared.close_relay(number);
        });
        let told: fn(PeerNews) -> Told = Ok;
        Ok(Response::new(UnboundedReceiverStream::new(news).map(told)))
    }

    async fn applied(
        &self,
        request: Request<AppliedRequest>,
    ) -> Result<Response<AppliedAnswer>, Status> {
        self.admit_server(&request)?;
        let AppliedRequest {
            revision,
            deadline_ms,
        } = request.into_inner();
        let deadline = Instant::now() + Duration::from_millis(deadline_ms);
        let fleet = Fleet(self.shared.clone());
        let (published, behind) = match fleet.wait_applied_here(revision, deadline).await {
            Ok(()) => (true, Vec::new()),
            Err(NotApplied::Waiting { agents, .. }) => (true, agents),
            Err(_) => (false, Vec::new()),
        };
        Ok(Response::new(AppliedAnswer {
            published,
            behind: behind.iter().map(Name::to_string).collect(),
        }))
    }

    async fn archive(
        &self,
        request: Request<ArchiveRequest>,
    ) -> Result<Response<Self::ArchiveStream>, Status> {
        self.admit_server(&request)?;
        let digest = digest_of(request.get_ref())?;
        // What is here: two servers that lack it must not ask each other in turn.
        self.send(digest, self.shared.archives.files(digest))
    }

    async fn keep(&self, request: Request<ArchiveRequest>) -> Result<Response<Kept>, Status> {
        self.admit_server(&request)?;
        let digest = digest_of(request.get_ref())?;
        match self.shared.archives.find(digest).await {
            Some(_) => Ok(Response::new(Kept {})),
            None => Err(Status::not_found(format!("there is no package {digest}"))),
        }
    }
}

/// What a follower is sent.
type Told = Result<PeerNews, Status>;

impl Shared {
    /// A server follows: it is told of the sessions that are here, then of what changes. What it does
    /// not take is kept in memory until its connection is found dead.
    fn open_relay(&self) -> (u64, mpsc::UnboundedReceiver<PeerNews>) {
        let (news, receiver) = mpsc::unbounded_channel();
        let mut state = self.state();
        for (host, seat) in &state.seats {
            if seat
                .session
                .as_ref()
                .is_some_and(|session| session.is_here())
            {
                let _ = news.send(told(host, seat.hello()));
            }
        }
        let number = state.number();
        state.relays.insert(number, news);
        (number, receiver)
    }

    fn close_relay(&self, number: u64) {
        let mut state = self.state();
        state.relays.remove(&number);
        for seat in state.seats.values_mut() {
            seat.relayed.retain(|_, askers| {
                askers.remove(&number);
                !askers.is_empty()
            });
        }
    }

    /// Gives an agent that is connected here what another server wants of it.
    fn pass_order(&self, relay: u64, order: PeerOrder) {
        let message = order.order.and_then(|order| order.message);
        let (Ok(host), Some(message)) = (order.host.parse::<Name>(), message) else {
            return;
        };
        let mut state = self.state();
        let seat = state.seats.get_mut(&host);
        let here = seat.filter(|seat| seat.session.as_ref().is_some_and(|s| s.is_here()));
        let Some(seat) = here else {
            // It went away before the order came: the follower is told, and asks elsewhere.
            if let Some(news) = state.relays.get(&relay) {
                let _ = news.send(told(&host, None));
            }
            return;
        };
        if let Message::Task(task) = &message {
            let askers = seat.relayed.entry(task.key.clone()).or_default();
            askers.insert(relay);
        }
        if let (Message::Task(_) | Message::Cancel(_), Some(session)) = (&message, &seat.session) {
            session.order(message);
        }
    }
}

impl State {
    /// Tells all who follow: what an agent said, or that its session is over.
    pub(crate) fn tell_relays(&self, host: &Name, said: Option<Said>) {
        for news in self.relays.values() {
            let _ = news.send(told(host, said.clone()));
        }
    }

    /// Passes on what an agent said: output and results to those who ordered, the rest to all.
    pub(crate) fn pass_on(&mut self, host: &Name, number: u64, said: Said) {
        let Some(seat) = self.seats.get_mut(host) else {
            return;
        };
        if seat
            .session
            .as_ref()
            .is_none_or(|session| session.number != number)
        {
            return;
        }
        let askers = match &said {
            Said::Output(output) => seat.relayed.get(&output.key).cloned(),
            Said::Result(result) => seat.relayed.remove(&result.key),
            Said::Report(_) | Said::Heartbeat(_) => return self.tell_relays(host, Some(said)),
            // How far its table is, and what its host is, matters to its own server only.
            Said::TableApplied(_) | Said::Facts(_) | Said::Hello(_) => return,
        };
        for asker in askers.unwrap_or_default() {
            if let Some(news) = self.relays.get(&asker) {
                let _ = news.send(told(host, Some(said.clone())));
            }
        }
    }
}

fn told(host: &Name, said: Option<Said>) -> PeerNews {
    PeerNews {
        host: host.to_string(),
        said: said.map(|said| wire::FromAgent {
            message: Some(said),
        }),
    }
}
