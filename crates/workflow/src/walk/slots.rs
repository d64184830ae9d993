use std::collections::HashMap;

/// How many attempts may run at once, and how many do. Shared by all jobs of an engine.
#[derive(Debug)]
pub(crate) struct Slots {
    global: usize,
    per_target: usize,
    used: usize,
    used_by_target: HashMap<String, usize>,
}

impl Slots {
    pub fn new(global: usize, per_target: usize) -> Self {
        let used_by_target = HashMap::new();
        Slots {
            global: global.max(1),
            per_target: per_target.max(1),
            used: 0,
            used_by_target,
        }
    }

    /// Whether another attempt may start anywhere.
    pub fn any_free(&self) -> bool {
        self.used < self.global
    }

    /// How many more may start on a target.
    pub fn free_on(&self, target: &str) -> usize {
        self.per_target
            .saturating_sub(self.used_by_target.get(target).copied().unwrap_or(0))
    }

    /// Takes a slot, also where none is free: what ran before a restart goes on.
    pub fn take(&mut self, target: Option<&str>) {
        self.used += 1;
        if let Some(target) = target {
            *self.used_by_target.entry(target.to_owned()).or_default() += 1;
        }
    }

    /// Gives a slot back.
    pub fn release(&mut self, target: Option<&str>) {
        self.used = self.used.saturating_sub(1);
        if let Some(target) = target
            && let Some(used) = self.used_by_target.get_mut(target)
        {
            *used -= 1;
            if *used == 0 {
                self.used_by_target.remove(target);
            }
        }
    }
}
