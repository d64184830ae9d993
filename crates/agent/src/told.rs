//! What the server was told of the host's facts.

use std::sync::Mutex;

use wright_model::{Digest, Facts};
use wright_protocol::wire;

use crate::error::locked;

/// Every so many looks it is said again that nothing changed: a day, at one look a minute.
const SAY_AGAIN: u32 = 24 * 60;

/// The facts that the server knows of; only their digest is kept.
#[derive(Debug, Default)]
pub(crate) struct Told {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    digest: Option<Digest>,
    /// Looks since it was last said.
    looks: u32,
}

impl Told {
    /// As a session begins: the digest of what there is, which the server asks for if it lacks it.
    pub(crate) fn begin(&self, facts: &Facts) -> Vec<u8> {
        let message = whole(facts);
        self.note(&message);
        message.digest
    }

    /// What is to be said after another look: the facts where they have changed, that they have not
    /// where that was last said a day ago, or nothing.
    pub(crate) fn look(&self, facts: &Facts) -> Option<wire::Facts> {
        let mut message = whole(facts);
        if self.note(&message) {
            return Some(message);
        }
        let mut state = locked(&self.state);
        state.looks += 1;
        (state.looks >= SAY_AGAIN).then(|| {
            state.looks = 0;
            message.body.clear();
            message
        })
    }

    /// The facts, for a server that asks.
    pub(crate) fn answer(&self, facts: &Facts) -> wire::Facts {
        let message = whole(facts);
        self.note(&message);
        message
    }

    /// Whether these are others than before.
    fn note(&self, message: &wire::Facts) -> bool {
        let digest = message.digest.as_slice().try_into();
        let digest = digest.ok().map(Digest::from_bytes);
        let mut state = locked(&self.state);
        let changed = state.digest != digest;
        if changed {
            *state = State { digest, looks: 0 };
        }
        changed
    }
}

fn whole(facts: &Facts) -> wire::Facts {
    // Facts have text keys only, so that they can always be written.
    let body = serde_json::to_vec(facts).unwrap_or_default();
    wire::Facts {
        digest: Digest::of(&body).as_bytes().to_vec(),
        body,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_told_when_they_change_and_once_a_day_that_they_have_not() {
        let told = Told::default();
        let mut facts = Facts::default();
        let first = told.begin(&facts);
        for _ in 1..SAY_AGAIN {
            assert_eq!(told.look(&facts), None);
        }
        let same = told.look(&facts).unwrap();
        assert_eq!((same.digest, same.body), (first.clone(), Vec::new()));
        facts.kernel = "6.2".to_owned();
        let changed = told.look(&facts).unwrap();
        assert_ne!(changed.digest, first);
        assert_eq!(
            serde_json::from_slice::<Facts>(&changed.body).unwrap(),
            facts
        );
        assert_eq!(told.look(&facts), None);
        assert_eq!(told.answer(&facts), changed);
    }
}
