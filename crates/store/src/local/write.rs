//! The writer: one thread, commits in groups.

use std::{
    io,
    sync::{Arc, mpsc as channel},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::oneshot;

use super::{commit, engine, lease::Leases, recent::Recent, schema};
use crate::{Changes, Guard, LeaseId, Operation, Revision, StoreError};

/// Guards and operations after which a transaction takes no more commits. Of many small keys in random
/// order several are on a page, and the page is written once for all of a transaction.
const GROUP: usize = 32 << 10;

/// What the writer is asked for.
#[derive(Debug)]
pub(super) enum Request {
    Commit {
        guards: Vec<Guard>,
        operations: Vec<Operation>,
    },
    Grant {
        ttl_seconds: u32,
    },
    KeepAlive(LeaseId),
    Revoke(LeaseId),
    Compact {
        before: Revision,
    },
}

impl Request {
    /// How much there is to do.
    fn size(&self) -> usize {
        match self {
            Request::Commit { guards, operations } => guards.len() + operations.len() + 1,
            _ => 1,
        }
    }
}

/// The commit's revision or the granted lease's number; 0 for the others.
type Answer = Result<u64, StoreError>;

#[derive(Debug)]
struct Command {
    request: Request,
    reply: oneshot::Sender<Answer>,
}

/// The way to the writer. Dropping it lets the writer finish what was asked for, and waits for that.
#[derive(Debug)]
pub(super) struct Commands {
    sender: Option<channel::Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Commands {
    /// Answers once the request's effect is durable.
    pub async fn ask(&self, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let sender = self.sender.as_ref().ok_or(StoreError::Closed)?;
        sender
            .send(Command { request, reply })
            .map_err(|_| StoreError::Closed)?;
        answer.await.map_err(|_| StoreError::Closed)?
    }
}

impl Drop for Commands {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A writer that panicked has said so itself.
            let _ = thread.join();
        }
    }
}

/// The thread's state.
struct Writer {
    connection: Connection,
    commands: channel::Receiver<Command>,
    recent: Arc<Recent>,
    leases: Leases,
}

/// What a transaction did: its commits, and the answer to each request.
struct Group {
    commits: Vec<(Revision, Changes)>,
    answers: Vec<Answer>,
}

/// Starts the writer. Leases that were granted before get their whole time again.
pub(super) fn start(connection: Connection, recent: Arc<Recent>) -> io::Result<Commands> {
    let leases = running_leases(&connection).map_err(io::Error::other)?;
    let (sender, commands) = channel::channel();
    let writer = Writer {
        connection,
        commands,
        recent,
        leases,
    };
    let thread = std::thread::Builder::new().name("store-writer".to_owned());
    let thread = thread.spawn(move || writer.run())?;
    Ok(Commands {
        sender: Some(sender),
        thread: Some(thread),
    })
}

fn running_leases(connection: &Connection) -> rusqlite::Result<Leases> {
    let (mut leases, now) = (Leases::default(), Instant::now());
    let mut statement = connection.prepare("SELECT id, ttl FROM lease")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, ttl): (i64, u32) = (row.get(0)?, row.get(1)?);
        leases.begin(
            LeaseId(id.cast_unsigned()),
            Duration::from_secs(ttl.into()),
            now,
        );
    }
    leases.keep();
    Ok(leases)
}

impl Writer {
    /// Until the store is dropped.
    fn run(mut self) {
        loop {
            let next_end = self.leases.next_end();
            let first = match next_end.map(|end| end.saturating_duration_since(Instant::now())) {
                None => self
                    .commands
                    .recv()
                    .map_err(|_| channel::RecvTimeoutError::Disconnected),
                Some(left) => self.commands.recv_timeout(left),
            };
            match first {
                Ok(command) => self.carry_out(Some(command)),
                Err(channel::RecvTimeoutError::Timeout) => self.carry_out(None),
                Err(channel::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// One transaction for a group; everybody is answered after it, also who was refused: what a
    /// guard was compared with may be a commit of the same group.
    fn carry_out(&mut self, first: Option<Command>) {
        let mut replies = Vec::new();
        match self.transact(first, &mut replies) {
            Ok(Group { commits, answers }) => {
                self.leases.keep();
                self.recent.add(commits);
                for (reply, answer) in replies.into_iter().zip(answers) {
                    // Nobody waits for the answer where the asker's task was cancelled.
                    let _ = reply.send(answer);
                }
            }
            Err(error) => {
                tracing::error!(%error, "the store could not write");
                self.leases.undo(Instant::now());
                self.catch_up();
                let reason = match error {
                    StoreError::Engine(reason) => reason,
                    other => other.to_string(),
                };
                for reply in replies {
                    let _ = reply.send(Err(StoreError::Engine(reason.clone())));
                }
            }
        }
    }

    /// The first command and what comes while the group is made. Who is to be answered is in `replies`,
    /// also where it fails.
    fn transact(
        &mut self,
        first: Option<Command>,
        replies: &mut Vec<oneshot::Sender<Answer>>,
    ) -> Result<Group, StoreError> {
        let now = Instant::now();
        let mut take = |command: Command| {
            replies.push(command.reply);
            command.request
        };
        let first = first.map(&mut take);
        let begun = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate);
        let transaction = begun.map_err(engine)?;
        let (newest, oldest) = schema::revisions(&transaction).map_err(engine)?;
        let leases = &mut self.leases;
        let mut work = Work {
            connection: &transaction,
            leases,
            newest,
            oldest,
            now,
            commits: Vec::new(),
        };
        for lease in work.leases.expired(now) {
            work.end_lease(lease)?;
        }
        let (mut answers, mut size) = (Vec::new(), 0);
        let mut next = first;
        while let Some(request) = next {
            size += request.size();
            match work.carry_out(&request) {
                Err(error @ StoreError::Engine(_)) => return Err(error),
                answer => answers.push(answer),
            }
            let more = size < GROUP && !matches!(request, Request::Compact { .. });
            let waiting = more.then(|| self.commands.try_recv().ok()).flatten();
            next = waiting.map(&mut take);
        }
        let Work {
            newest: reached,
            oldest: kept_from,
            commits,
            ..
        } = work;
        // A group that changed nothing (guards that were false, leases kept alive) needs no fsync.
        if reached > newest {
            schema::set_meta(&transaction, "revision", reached).map_err(engine)?;
        }
        transaction.commit().map_err(engine)?;
        self.recent.compacted(kept_from);
        Ok(Group { commits, answers })
    }

    /// Where the disk failed after the commit was made, the file is ahead of what was announced.
    fn catch_up(&self) {
        if let Ok((newest, _)) = schema::revisions(&self.connection) {
            self.recent.jump(newest);
        }
    }
}

/// A transaction while it is made.
struct Work<'a> {
    connection: &'a Connection,
    leases: &'a mut Leases,
    newest: Revision,
    oldest: Revision,
    now: Instant,
    commits: Vec<(Revision, Changes)>,
}

impl Work<'_> {
    fn carry_out(&mut self, request: &Request) -> Answer {
        match request {
            Request::Commit { guards, operations } => {
                let revision = self.newest + 1;
                let changes =
                    commit::commit(self.connection, guards, operations, self.leases, revision)?;
                Ok(self.committed(changes))
            }
            Request::Grant { ttl_seconds } => {
                let lease = commit::grant(self.connection, *ttl_seconds)?;
                self.leases.begin(
                    lease,
                    Duration::from_secs(u64::from(*ttl_seconds)),
                    self.now,
                );
                Ok(lease.0)
            }
            Request::KeepAlive(lease) => {
                if self.leases.keep_alive(*lease, self.now) {
                    Ok(0)
                } else {
                    Err(StoreError::NoLease(*lease))
                }
            }
            Request::Revoke(lease) => {
                if !self.leases.runs(*lease) {
                    return Err(StoreError::NoLease(*lease));
                }
                self.end_lease(*lease)?;
                Ok(0)
            }
            Request::Compact { before } => {
                if *before > self.newest {
                    return Err(StoreError::Future {
                        asked: *before,
                        newest: self.newest,
                    });
                }
                if *before > self.oldest {
                    commit::compact(self.connection, *before)?;
                    self.oldest = *before;
                }
                Ok(0)
            }
        }
    }

    fn end_lease(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        let changes = commit::end_lease(self.connection, lease, self.newest + 1)?;
        self.leases.end(lease);
        // A lease without keys ends without a commit.
        if !changes.is_empty() {
            self.committed(changes);
        }
        Ok(())
    }

    fn committed(&mut self, changes: Changes) -> Revision {
        self.newest += 1;
        self.commits.push((self.newest, changes));
        self.newest
    }
}
