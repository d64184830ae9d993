//! What every engine refuses before it does anything.

use crate::{Guard, MAX_KEY, MAX_OPERATIONS, MAX_VALUE, Operation, StoreError};

/// Whether a commit is within the limits of the contract.
pub(crate) fn check(guards: &[Guard], operations: &[Operation]) -> Result<(), StoreError> {
    let limit = |what, size, limit| {
        if size > limit {
            Err(StoreError::TooLarge { what, size, limit })
        } else {
            Ok(())
        }
    };
    limit(
        "the number of guards and operations of a commit",
        guards.len() + operations.len(),
        MAX_OPERATIONS,
    )?;
    for guard in guards {
        let (Guard::Absent(key)
        | Guard::Exists(key)
        | Guard::Modified(key, _)
        | Guard::Version(key, _)
        | Guard::Value(key, _)) = guard;
        limit("a key, in bytes,", key.len(), MAX_KEY)?;
    }
    for operation in operations {
        match operation {
            Operation::Put { key, value, .. } => {
                limit("a key, in bytes,", key.len(), MAX_KEY)?;
                limit("a value, in bytes,", value.len(), MAX_VALUE)?;
            }
            Operation::Delete(key) => limit("a key, in bytes,", key.len(), MAX_KEY)?,
            Operation::DeleteRange(_) => {}
        }
    }
    Ok(())
}
