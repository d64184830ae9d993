//! A commit as one etcd transaction. Pure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{
    keys::{self, Namespace},
    wire::{
        Compare, CompareResult, CompareTarget, DeleteRangeRequest, KeyValue, Op, PutRequest,
        RangeRequest, RequestOp, TargetUnion, TxnRequest,
    },
};
use crate::{Guard, LeaseId, MAX_OPERATIONS, Operation, Range};

/// The most operations that the transaction of a commit has: a commit of puts and removed ranges, of
/// which each put splits a range in two; and the engine's own put.
pub(super) const MAX_TRANSACTION: usize = 2 * MAX_OPERATIONS + 1;

/// What a put that is the last word on its key writes.
type Write = (Bytes, Option<LeaseId>);

/// A commit, but for the engine's own key.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub guards: Vec<Guard>,
    /// The leases of all puts, in the order of the operations.
    pub leases: Vec<LeaseId>,
    /// Those that only puts name on which a later operation has the last word.
    pub overruled: Vec<LeaseId>,
    compares: Vec<Compare>,
    writes: Vec<RequestOp>,
    reads: Vec<RequestOp>,
}

impl Plan {
    /// The limits of the contract were checked.
    pub fn new(namespace: &Namespace, guards: Vec<Guard>, operations: Vec<Operation>) -> Self {
        let leases: Vec<LeaseId> = operations.iter().filter_map(lease).collect();
        let (puts, removed) = collapse(operations);
        let used: BTreeSet<LeaseId> = puts.values().filter_map(|(_, lease)| *lease).collect();
        let removes = removed.into_iter().map(|range| {
            Op::RequestDeleteRange(DeleteRangeRequest {
                key: namespace.key(&range.start),
                range_end: namespace.end(range.end.as_deref()),
            })
        });
        let removes: Vec<_> = removes.collect();
        let puts = puts.into_iter().map(|(key, (value, lease))| {
            Op::RequestPut(PutRequest {
                key: namespace.key(&key),
                value,
                lease: lease.map_or(0, |lease| lease.0.cast_signed()),
            })
        });
        Plan {
            overruled: leases
                .iter()
                .filter(|lease| !used.contains(lease))
                .copied()
                .collect(),
            leases,
            compares: guards
                .iter()
                .map(|guard| compare(namespace, guard))
                .collect(),
            reads: guards.iter().map(|guard| read(namespace, guard)).collect(),
            writes: removes.into_iter().chain(puts).map(op).collect(),
            guards,
        }
    }

    /// The transaction: `own` is compared with the guards, written with the operations, and read
    /// where a guard is false, before what the guards name.
    pub fn transaction(&self, own: (Compare, PutRequest, RangeRequest)) -> TxnRequest {
        let (compare, put, range) = own;
        let with = |first, rest: &[RequestOp]| {
            let mut all = vec![op(first)];
            all.extend_from_slice(rest);
            all
        };
        let mut compares = vec![compare];
        compares.extend_from_slice(&self.compares);
        TxnRequest {
            compare: compares,
            success: with(Op::RequestPut(put), &self.writes),
            failure: with(Op::RequestRange(range), &self.reads),
        }
    }

    /// Only whether the guards are true.
    pub fn question(&self) -> TxnRequest {
        TxnRequest {
            compare: self.compares.clone(),
            success: Vec::new(),
            failure: self.reads.clone(),
        }
    }

    /// The first guard that is false of what was read in the place of the commit.
    pub fn first_false(&self, read: &[Option<KeyValue>]) -> Option<&Guard> {
        let pairs = self.guards.iter().zip(read);
        pairs
            .into_iter()
            .find(|(guard, found)| !holds(guard, found.as_ref()))
            .map(|(guard, _)| guard)
    }
}

/// An operation of a transaction.
pub(super) fn op(request: Op) -> RequestOp {
    RequestOp {
        request: Some(request),
    }
}

/// Compares a key's version; 0 is that of a key that does not exist.
pub(super) fn version(key: Bytes, result: CompareResult, version: i64) -> Compare {
    Compare {
        result: result.into(),
        target: CompareTarget::Version.into(),
        key,
        target_union: Some(TargetUnion::Version(version)),
    }
}

fn lease(operation: &Operation) -> Option<LeaseId> {
    match operation {
        Operation::Put { lease, .. } => *lease,
        _ => None,
    }
}

fn key(guard: &Guard) -> &Bytes {
    let (Guard::Absent(key)
    | Guard::Exists(key)
    | Guard::Modified(key, _)
    | Guard::Version(key, _)
    | Guard::Value(key, _)) = guard;
    key
}

fn compare(namespace: &Namespace, guard: &Guard) -> Compare {
    let key = namespace.key(key(guard));
    match guard {
        Guard::Absent(_) => version(key, CompareResult::Equal, 0),
        Guard::Exists(_) => version(key, CompareResult::Greater, 0),
        // To etcd, a key that does not exist has version and revision 0; to the contract, none.
        Guard::Modified(_, 0) | Guard::Version(_, 0) => version(key, CompareResult::Less, 0),
        Guard::Version(_, wanted) => version(key, CompareResult::Equal, wanted.cast_signed()),
        Guard::Modified(_, revision) => Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key,
            target_union: Some(TargetUnion::ModRevision(revision.cast_signed())),
        },
        Guard::Value(_, value) => Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Value.into(),
            key,
            target_union: Some(TargetUnion::Value(value.clone())),
        },
    }
}

fn read(namespace: &Namespace, guard: &Guard) -> RequestOp {
    op(Op::RequestRange(RangeRequest {
        key: namespace.key(key(guard)),
        keys_only: !matches!(guard, Guard::Value(..)),
        ..RangeRequest::default()
    }))
}

fn holds(guard: &Guard, found: Option<&KeyValue>) -> bool {
    match (guard, found) {
        (Guard::Absent(_), found) => found.is_none(),
        (_, None) => false,
        (Guard::Exists(_), Some(_)) => true,
        (Guard::Modified(_, revision), Some(found)) => {
            found.mod_revision.cast_unsigned() == *revision
        }
        (Guard::Version(_, version), Some(found)) => found.version.cast_unsigned() == *version,
        (Guard::Value(_, value), Some(found)) => found.value == *value,
    }
}

/// The last word on every key. etcd refuses a transaction that touches a key twice, so a removed
/// range is split around the keys that are put.
fn collapse(operations: Vec<Operation>) -> (BTreeMap<Bytes, Write>, Vec<Range>) {
    let (mut puts, mut removed) = (BTreeMap::new(), Vec::new());
    for operation in operations {
        match operation {
            Operation::Put { key, value, lease } => drop(puts.insert(key, (value, lease))),
            Operation::Delete(key) => {
                puts.remove(&key);
                removed.push(Range::key(key));
            }
            Operation::DeleteRange(range) => {
                puts.retain(|key, _| !range.contains(key));
                removed.push(range);
            }
        }
    }
    let removed = union(removed)
        .into_iter()
        .flat_map(|range| around(range, &puts))
        .collect();
    (puts, removed)
}

/// The same keys, in ranges that do not meet.
fn union(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.retain(|range| !keys::is_empty(range));
    ranges.sort_by(|one, other| one.start.cmp(&other.start));
    let mut union: Vec<Range> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| range.start <= *end) => {
                // `None` is the greatest end.
                last.end = match (last.end.take(), range.end) {
                    (Some(one), Some(other)) => Some(one.max(other)),
                    _ => None,
                };
            }
            _ => union.push(range),
        }
    }
    union
}

/// A range without the keys that are put.
fn around(range: Range, puts: &BTreeMap<Bytes, Write>) -> Vec<Range> {
    let mut parts = Vec::new();
    let mut start = range.start.clone();
    let inside = puts.range(range.start.clone()..).map(|(key, _)| key);
    for key in inside.take_while(|key| range.contains(key)) {
        let after = Range::key(key.clone()).end.unwrap_or_default();
        parts.push(Range {
            start: std::mem::replace(&mut start, after),
            end: Some(key.clone()),
        });
    }
    parts.push(Range {
        start,
        end: range.end,
    });
    parts.retain(|part| !keys::is_empty(part));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remove(start: &'static str, end: &'static str) -> Operation {
        Operation::DeleteRange(range(start, end))
    }

    fn range(start: &'static str, end: &'static str) -> Range {
        Range {
            start: start.into(),
            end: (!end.is_empty()).then(|| end.into()),
        }
    }

    fn collapsed(operations: Vec<Operation>) -> (Vec<Bytes>, Vec<Range>) {
        let (puts, removed) = collapse(operations);
        (puts.into_keys().collect(), removed)
    }

    #[test]
    fn a_removed_range_is_split_around_what_is_put_after_it() {
        let operations = vec![
            Operation::put("b", "gone"),
            remove("a", "d"),
            Operation::put("c", "kept"),
        ];
        let wanted = vec![range("a", "c"), range("c\0", "d")];
        assert_eq!(collapsed(operations), (vec!["c".into()], wanted));
    }

    #[test]
    fn ranges_that_meet_are_one() {
        let operations = vec![
            remove("c", ""),
            Operation::Delete("x".into()),
            remove("a", "c"),
            remove("9", "8"),
            remove("1", "2"),
        ];
        assert_eq!(
            collapsed(operations),
            (Vec::new(), vec![range("1", "2"), range("a", "")])
        );
    }

    #[test]
    fn the_largest_commit_fits_into_the_largest_transaction() {
        let half = MAX_OPERATIONS / 2;
        let ranges = (0..half).map(|n| Operation::DeleteRange(Range::prefix(format!("{n:04}"))));
        let puts = (0..half).map(|n| Operation::put(format!("{n:04}/x"), ""));
        let plan = Plan::new(
            &Namespace::new(""),
            Vec::new(),
            ranges.chain(puts).collect(),
        );
        assert!(plan.writes.len() < MAX_TRANSACTION, "{}", plan.writes.len());
    }
}
