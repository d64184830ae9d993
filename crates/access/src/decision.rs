use crate::{Act, Caller, Target};

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Decision {
    /// It is done, on the fields that [`Caller::fields`] allows.
    Allowed,
    /// It is refused.
    Forbidden,
    /// It is answered as if the target did not exist: the caller may not know of it.
    Hidden,
}

/// Whether somebody may do something: where one of his rules says so. What he may not read does not
/// exist for him.
pub fn allows(caller: &Caller, act: Act, target: &Target<'_>) -> Decision {
    if caller.may(act, target) {
        Decision::Allowed
    } else if act != Act::Read && caller.may(Act::Read, target) {
        Decision::Forbidden
    } else {
        Decision::Hidden
    }
}
