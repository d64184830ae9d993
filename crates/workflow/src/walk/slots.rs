use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// With whom jobs share; cheap to copy.
pub(crate) type Tenant = Arc<str>;

/// How many attempts may run at once, and how many do. Shared by all jobs of an engine.
///
/// Where slots are short, tenants take turns: what is free goes to the tenant that wants it and uses
/// the fewest, and of equals to the one that has not had one for longer. Nothing is kept free for a
/// tenant that does not want it.
#[derive(Debug)]
pub(crate) struct Slots {
    global: usize,
    per_target: usize,
    per_tenant: usize,
    all: Pool,
    targets: HashMap<String, Pool>,
}

/// Who uses slots of one sort, and who wants more of them.
#[derive(Debug, Default)]
struct Pool {
    used: usize,
    used_by: HashMap<Tenant, usize>,
    /// Jobs that want more, for each tenant.
    wanted_by: HashMap<Tenant, usize>,
    /// The tenants of `wanted_by` in the order of their turns.
    waiting: BTreeSet<(Turn, Tenant)>,
    /// Slots that were ever taken, and which of these a tenant's last one was.
    taken: u64,
    last_of: HashMap<Tenant, u64>,
}

/// Who uses fewer comes first, and of equals who has not had one for longer.
type Turn = (usize, u64);

impl Pool {
    fn used_by(&self, tenant: &str) -> usize {
        self.used_by.get(tenant).copied().unwrap_or(0)
    }

    fn turn(&self, tenant: &str) -> Turn {
        let last = self.last_of.get(tenant).copied().unwrap_or(0);
        (self.used_by(tenant), last)
    }

    /// Whether nobody who wants a slot, too, comes before.
    fn has_turn(&self, tenant: &str) -> bool {
        let other = self.waiting.iter().find(|(_, other)| **other != *tenant);
        other.is_none_or(|(turn, _)| self.turn(tenant) <= *turn)
    }

    fn take(&mut self, tenant: &Tenant) {
        self.used += 1;
        self.taken += 1;
        let taken = self.taken;
        self.move_turn(tenant, |pool| {
            *pool.used_by.entry(tenant.clone()).or_default() += 1;
            pool.last_of.insert(tenant.clone(), taken);
        });
        self.forget_absent();
    }

    fn release(&mut self, tenant: &Tenant) {
        self.used = self.used.saturating_sub(1);
        self.move_turn(tenant, |pool| {
            let left = pool.used_by(tenant).saturating_sub(1);
            if left == 0 {
                pool.used_by.remove(tenant);
            } else {
                pool.used_by.insert(tenant.clone(), left);
            }
        });
    }

    /// Changes what a tenant's turn comes from.
    fn move_turn(&mut self, tenant: &Tenant, change: impl FnOnce(&mut Self)) {
        let before = (self.turn(tenant), tenant.clone());
        change(self);
        if self.waiting.remove(&before) {
            self.waiting.insert((self.turn(tenant), tenant.clone()));
        }
    }

    fn want(&mut self, tenant: &Tenant) {
        *self.wanted_by.entry(tenant.clone()).or_default() += 1;
        self.waiting.insert((self.turn(tenant), tenant.clone()));
    }

    fn want_no_more(&mut self, tenant: &Tenant) {
        let Some(jobs) = self.wanted_by.get_mut(tenant) else {
            return;
        };
        *jobs -= 1;
        if *jobs == 0 {
            self.wanted_by.remove(tenant);
            self.waiting.remove(&(self.turn(tenant), tenant.clone()));
        }
    }

    /// Forgets when tenants that are long gone had their last slot.
    fn forget_absent(&mut self) {
        if self.last_of.len() > 2 * (self.used_by.len() + self.wanted_by.len()) + 16 {
            let (used_by, wanted_by) = (&self.used_by, &self.wanted_by);
            let present =
                |tenant: &Tenant| used_by.contains_key(tenant) || wanted_by.contains_key(tenant);
            self.last_of.retain(|tenant, _| present(tenant));
        }
    }

    fn is_idle(&self) -> bool {
        self.used == 0 && self.wanted_by.is_empty()
    }
}

impl Slots {
    pub fn new(global: usize, per_target: usize, per_tenant: usize) -> Self {
        Slots {
            global: global.max(1),
            per_target: per_target.max(1),
            per_tenant: per_tenant.max(1),
            all: Pool::default(),
            targets: HashMap::new(),
        }
    }

    /// Whether a tenant may start another attempt now, as far as its target has room.
    pub fn admits(&self, tenant: &Tenant) -> bool {
        self.all.used < self.global
            && self.all.used_by(tenant) < self.per_tenant
            && self.all.has_turn(tenant)
    }

    /// How many attempts a tenant may start on a target now, as far as there is room at all.
    pub fn room_on(&self, tenant: &Tenant, target: &str) -> usize {
        match self.targets.get(target) {
            None => self.per_target,
            Some(pool) if pool.has_turn(tenant) => self.per_target.saturating_sub(pool.used),
            Some(_) => 0,
        }
    }

    /// Takes a slot, also where none is free: what ran before a restart goes on.
    pub fn take(&mut self, tenant: &Tenant, target: Option<&str>) {
        self.all.take(tenant);
        if let Some(target) = target {
            self.pool(target).take(tenant);
        }
    }

    /// Gives a slot back.
    pub fn release(&mut self, tenant: &Tenant, target: Option<&str>) {
        self.all.release(tenant);
        self.on_target(target, |pool| pool.release(tenant));
    }

    /// A job of this tenant waits for a slot: on this target, or anywhere.
    pub fn want(&mut self, tenant: &Tenant, target: Option<&str>) {
        match target {
            None => self.all.want(tenant),
            Some(target) => self.pool(target).want(tenant),
        }
    }

    /// It does not any more.
    pub fn want_no_more(&mut self, tenant: &Tenant, target: Option<&str>) {
        match target {
            None => self.all.want_no_more(tenant),
            target => self.on_target(target, |pool| pool.want_no_more(tenant)),
        }
    }

    fn pool(&mut self, target: &str) -> &mut Pool {
        self.targets.entry(target.to_owned()).or_default()
    }

    fn on_target(&mut self, target: Option<&str>, change: impl FnOnce(&mut Pool)) {
        if let Some(target) = target
            && let Some(pool) = self.targets.get_mut(target)
        {
            change(pool);
            if pool.is_idle() {
                self.targets.remove(target);
            }
        }
    }
}
