//! What etcd's errors mean. Its texts are part of its API: `api/v3rpc/rpctypes/error.go`.

use tonic::{Code, Status};

use crate::StoreError;

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";
const NO_LEASE: &str = "etcdserver: requested lease not found";
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";
const BUSY: &str = "etcdserver: too many requests";
const TOO_MANY_OPERATIONS: &str = "etcdserver: too many operations in txn request";
const TOO_LARGE: &str = "etcdserver: request is too large";
const NOT_LEADER: &str = "etcdserver: not leader";
const INVALID_TOKEN: &str = "etcdserver: invalid auth token";
const NO_USER: &str = "etcdserver: user name is empty";
const OLD_TOKEN: &str = "etcdserver: revision of auth store is old";

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request may or may not have had its effect: ask another member.
    Lost,
    /// It had no effect, because the member has too much to do: ask again later.
    Busy,
    /// It had no effect, because who asks must say anew who it is.
    Token,
    /// It had no effect, and asking again will not help.
    Said,
}

/// Sorts an error.
pub(super) fn sort(status: &Status) -> Fault {
    match (status.code(), status.message()) {
        (_, BUSY) => Fault::Busy,
        (_, NOT_LEADER) => Fault::Lost,
        (Code::Unauthenticated, _) | (_, OLD_TOKEN | NO_USER) => Fault::Token,
        (
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::OutOfRange
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Unimplemented
            | Code::DataLoss,
            _,
        ) => Fault::Said,
        _ => Fault::Lost,
    }
}

/// Whether a watch was ended because who asks must say anew who it is.
pub(super) fn is_of_token(reason: &str) -> bool {
    [INVALID_TOKEN, OLD_TOKEN, NO_USER]
        .iter()
        .any(|text| reason.ends_with(text))
}

/// Whether what was asked for is older than what is kept.
pub(super) fn is_compacted(status: &Status) -> bool {
    status.message() == COMPACTED
}

/// Whether what was asked for has not happened yet.
pub(super) fn is_future(status: &Status) -> bool {
    status.message() == FUTURE
}

/// Whether a lease does not exist or has ended.
pub(super) fn is_no_lease(status: &Status) -> bool {
    status.message() == NO_LEASE
}

/// Whether a request has more bytes than the member takes, which gRPC or etcd may notice first.
pub(super) fn is_too_large(status: &Status) -> bool {
    status.message() == TOO_LARGE
        || (status.code() == Code::ResourceExhausted
            && status.message().contains("larger than max"))
}

/// What people need to know, where the contract has no word for it.
pub(super) fn error(status: &Status) -> StoreError {
    let text = match status.message() {
        NO_SPACE => "etcd's database is full (--quota-backend-bytes): compact the store, then run \
                     `etcdctl defrag` and `etcdctl alarm disarm`"
            .to_owned(),
        TOO_MANY_OPERATIONS => {
            "etcd takes too few operations in one transaction: start each member \
                                with --max-txn-ops=4096"
                .to_owned()
        }
        _ if sort(status) == Fault::Lost => {
            format!("no member of the etcd cluster answers: {}", reason(status))
        }
        _ => reason(status),
    };
    StoreError::Engine(text)
}

/// The error with its causes: a connection that failed says why only there.
fn reason(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_that_leaves_the_effect_open_is_lost() {
        for (code, text, fault) in [
            (Code::Unavailable, "etcdserver: leader changed", Fault::Lost),
            (Code::Unknown, "transport error", Fault::Lost),
            (Code::FailedPrecondition, NOT_LEADER, Fault::Lost),
            (Code::ResourceExhausted, BUSY, Fault::Busy),
            (Code::ResourceExhausted, NO_SPACE, Fault::Said),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Fault::Token,
            ),
            (Code::InvalidArgument, OLD_TOKEN, Fault::Token),
            (Code::NotFound, NO_LEASE, Fault::Said),
            (Code::OutOfRange, COMPACTED, Fault::Said),
        ] {
            assert_eq!(sort(&Status::new(code, text)), fault, "{text}");
        }
    }

    #[test]
    fn a_full_database_says_what_to_do() {
        let text = error(&Status::new(Code::ResourceExhausted, NO_SPACE)).to_string();
        assert!(
            text.contains("etcdctl defrag") && text.contains("disarm"),
            "{text}"
        );
    }
}
