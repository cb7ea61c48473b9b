//! The router: where a request goes, and what its failure means.
//!
//! One for each loop of a proxy and for each client; owned by one thread. Backends have ids that are never used for
//! another server while the router lives, so that late news of an old connection cannot be taken for another's.

mod backends;
mod pool;

use proto::{ClusterId, Generation, KeyHash, MapVersion};
use stdx::{Instant, Prng};

use cluster::map::{ApplyError, Map};

use crate::health::{Health, HealthState};
use crate::limits::{ATTEMPTS_MAX, ATTEMPTS_PER_PAUSE, RETRY_PAUSE};
use crate::op::{Class, Failure, Op, Outcome, Place, Reason, Step};
use crate::options::RouteOptions;
use crate::refresh::Refresh;

use backends::Backend;
pub use backends::{BackendId, BackendView};
use pool::Pool;
pub use pool::PoolError;

/// What a newer map changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapChange {
    /// Whether the map is newer than the one before.
    pub newer: bool,
}

/// Routes of one owner.
#[derive(Debug)]
pub struct Router {
    options: RouteOptions,
    prng: Prng,
    backends: Vec<Backend>,
    target: Target,
    /// When to ask for the map; unused in a static pool.
    pub refresh: Refresh,
}

#[derive(Debug)]
enum Target {
    Managed {
        map: Box<Map>,
        /// Backend of each node of the map, by its index there.
        backends: Vec<BackendId>,
    },
    Pool(Pool),
}

impl Router {
    /// A router for a managed cluster, which knows nothing until [`Router::apply_map`].
    pub fn managed(options: RouteOptions, seed: u64) -> Self {
        let target = Target::Managed { map: Box::new(Map::empty(ClusterId(0))), backends: Vec::new() };
        Self { options, prng: Prng::new(seed), backends: Vec::new(), target, refresh: Refresh::new() }
    }

    /// A router for a static pool of `host:port` servers, whose order matters.
    pub fn pool(options: RouteOptions, servers: &[String], seed: u64) -> Result<Self, PoolError> {
        let pool = Pool::new(servers, options.replicas)?;
        let backend = |address: &String| Backend {
            address: address.clone(),
            node: None,
            health: Health::new(&options),
            current: true,
        };
        let backends = servers.iter().map(backend).collect();
        Ok(Self {
            options,
            prng: Prng::new(seed),
            backends,
            target: Target::Pool(pool),
            refresh: Refresh::new(),
        })
    }

    /// The options in force.
    pub fn options(&self) -> &RouteOptions {
        &self.options
    }

    /// The generator of this router's jitter.
    pub fn prng(&mut self) -> &mut Prng {
        &mut self.prng
    }

    /// True for a managed cluster.
    pub fn is_managed(&self) -> bool {
        matches!(self.target, Target::Managed { .. })
    }

    /// The map's version; `NONE` before the first and in a static pool.
    pub fn map_version(&self) -> MapVersion {
        match &self.target {
            Target::Managed { map, .. } => map.version(),
            Target::Pool(_) => MapVersion::NONE,
        }
    }

    /// The cluster; zero before the first map and in a static pool.
    pub fn cluster(&self) -> ClusterId {
        match &self.target {
            Target::Managed { map, .. } => map.cluster(),
            Target::Pool(_) => ClusterId(0),
        }
    }

    /// Takes over a map text that a node or the manager answered; empty: there is nothing newer. Parked requests
    /// should be resumed when it is newer.
    pub fn apply_map(&mut self, text: &[u8], now: Instant) -> Result<MapChange, ApplyError> {
        let Target::Managed { map, backends } = &mut self.target else { return Ok(MapChange::default()) };
        if text.is_empty() {
            self.refresh.handle_answered(now, &mut self.prng);
            return Ok(MapChange::default());
        }
        let known = map.version();
        let newer = match map.apply(text) {
            Ok(newer) => newer,
            Err(error) => {
                self.refresh.handle_failed(now, &mut self.prng);
                return Err(error);
            }
        };
        for backend in &mut self.backends {
            backend.current = false;
        }
        backends.clear();
        for node in map.nodes() {
            let same =
                |known: &Backend| known.node.as_ref() == Some(&node.id) && known.address == node.address;
            let index = self.backends.iter().position(same).unwrap_or_else(|| {
                self.backends.push(Backend {
                    address: node.address.clone(),
                    node: Some(node.id.clone()),
                    health: Health::new(&self.options),
                    current: false,
                });
                self.backends.len() - 1
            });
            self.backends[index].current = true;
            backends.push(BackendId(index as u32));
        }
        // Who is given buckets has spoken with the manager just now.
        for owner in map.runs_since(known).filter_map(|run| run.owner) {
            let given = backends.get(owner).and_then(|id| self.backends.get_mut(id.0 as usize));
            if let Some(backend) = given.filter(|backend| backend.health.state() == HealthState::Down) {
                backend.health.handle_hint(now, &self.options, &mut self.prng);
            }
        }
        if newer {
            self.refresh.handle_newer(now, &mut self.prng);
        } else {
            self.refresh.handle_answered(now, &mut self.prng);
        }
        Ok(MapChange { newer })
    }

    /// Begins a request.
    pub fn start(&mut self, class: Class, key: &[u8], hash: KeyHash, now: Instant) -> (Op, Step) {
        let mut op = self.op(class, hash, now);
        let step = self.route(&mut op, key, now);
        (op, step)
    }

    /// Begins a `cas` whose item was read under that generation: it is sent under no other.
    pub fn start_bound(&mut self, key: &[u8], hash: KeyHash, read: Generation, now: Instant) -> (Op, Step) {
        let mut op = self.op(Class::Bound, hash, now);
        op.bound = Some(read);
        let step = self.route(&mut op, key, now);
        (op, step)
    }

    /// An op for a request that goes to one backend whatever its keys; it fails when that fails.
    pub fn pin(&self, now: Instant) -> Op {
        let until = now + self.options.timeout;
        Op { attempt_until: until, attempts: 1, ..self.op(Class::Create, KeyHash(0), now) }
    }

    /// A parked request's time has come, or a newer map has.
    pub fn resume(&mut self, op: &mut Op, key: &[u8], now: Instant) -> Step {
        if op.is_over() {
            return self.unknown(op, now);
        }
        if now >= op.deadline {
            return self.give_up(op);
        }
        // A newer map that says nothing new about its bucket: attempts are few, maps may be many.
        if now < op.parked_until && !self.has_new_place(op, key, now) {
            return Step::Park { until: op.parked_until };
        }
        self.route(op, key, now)
    }

    /// A request that was to be sent waited for its connection: where to, by now? Not another attempt.
    pub fn reroute(&mut self, op: &mut Op, key: &[u8], now: Instant) -> Step {
        if op.is_over() {
            return self.unknown(op, now);
        }
        if now >= op.deadline {
            return self.give_up(op);
        }
        let (attempts, until) = (op.attempts, op.attempt_until);
        let step = self.route(op, key, now);
        op.attempts = attempts;
        op.attempt_until = until.min(op.attempt_until);
        step
    }

    /// A question for the map was not answered.
    pub fn fail_refresh(&mut self, now: Instant) {
        self.refresh.handle_failed(now, &mut self.prng);
    }

    /// An attempt failed.
    pub fn handle_outcome(&mut self, op: &mut Op, outcome: Outcome, key: &[u8], now: Instant) -> Step {
        if outcome == Outcome::NotOwner {
            self.refresh.handle_need(now, &mut self.prng);
        }
        if op.is_over() {
            return self.unknown(op, now);
        }
        op.in_doubt |= matches!(outcome, Outcome::Lost | Outcome::TimedOut);
        op.reason = match outcome {
            Outcome::NotOwner => Reason::NoOwner,
            Outcome::Expired => Reason::Expired,
            _ => Reason::BackendDown,
        };
        match (op.class, outcome) {
            // "get: any error or time-out -> miss", but for a refusal.
            (Class::Read, Outcome::NotOwner) => self.again(op, key, now),
            (Class::Read, _) => Step::Answer(Failure::Miss),
            // "delete: retry under any map until acknowledged".
            (Class::Delete, _) => self.again(op, key, now),
            // "set, add …: NOT_OWNER -> resend under the same client deadline; time-out -> Unknown, never resent".
            (Class::Create, Outcome::NotOwner | Outcome::NotSent) => self.again(op, key, now),
            (Class::Bound, Outcome::NotSent) => self.again(op, key, now),
            // "fill, cas: NOT_OWNER -> Changed, never another generation".
            (Class::Bound, Outcome::NotOwner) => Step::Answer(Failure::Changed),
            (_, Outcome::Expired) => Step::Answer(Failure::NotDone(Reason::Expired)),
            (_, Outcome::Lost | Outcome::TimedOut) => self.unknown(op, now),
        }
    }

    /// The servers that hold copies of a key besides the one it was sent to: they must hear of a mutation too. Empty
    /// in a managed cluster, where copies are the nodes' affair.
    pub fn copies(&self, key: &[u8], sent_to: BackendId) -> Vec<BackendId> {
        self.places_beside(key, sent_to, true)
    }

    /// Those among them that are down and miss the mutation: they must be flushed before they are used again.
    pub fn missed(&self, key: &[u8], sent_to: BackendId) -> Vec<BackendId> {
        self.places_beside(key, sent_to, false)
    }

    fn places_beside(&self, key: &[u8], sent_to: BackendId, usable: bool) -> Vec<BackendId> {
        match &self.target {
            Target::Managed { .. } => Vec::new(),
            Target::Pool(pool) => {
                pool.places(key).filter(|&id| id != sent_to && self.usable(id) == usable).collect()
            }
        }
    }

    fn op(&self, class: Class, hash: KeyHash, now: Instant) -> Op {
        let time = if class == Class::Read { self.options.timeout } else { self.options.write_budget };
        Op {
            class,
            hash,
            deadline: now + time,
            attempt_until: now,
            attempts: 0,
            tried: None,
            parked_until: now,
            in_doubt: false,
            bound: None,
            reason: Reason::NoOwner,
        }
    }

    fn again(&mut self, op: &mut Op, key: &[u8], now: Instant) -> Step {
        if now >= op.deadline || op.attempts >= ATTEMPTS_MAX {
            return self.give_up(op);
        }
        // A map that came while the request was out may know better; else wait for one.
        if self.is_managed() && self.has_new_place(op, key, now) {
            return self.route(op, key, now);
        }
        self.park(op, now)
    }

    fn has_new_place(&self, op: &Op, key: &[u8], now: Instant) -> bool {
        self.place(op, key, now).is_ok_and(|place| op.tried != Some(place))
    }

    /// A write that was sent may land until its stamp has passed, though its connection is gone (hazard b); the caller
    /// is not told before, so that it never lands after the call returned.
    fn unknown(&self, op: &Op, now: Instant) -> Step {
        if self.is_managed() && now < op.attempt_until {
            return Step::Park { until: op.attempt_until };
        }
        Step::Answer(Failure::Unknown)
    }

    fn park(&self, op: &mut Op, now: Instant) -> Step {
        let pause = RETRY_PAUSE * (1 << (op.attempts / ATTEMPTS_PER_PAUSE));
        op.parked_until = (now + pause).min(op.deadline);
        Step::Park { until: op.parked_until }
    }

    fn give_up(&self, op: &Op) -> Step {
        match op.class {
            Class::Read => Step::Answer(Failure::Miss),
            // "budget spent -> dirty report until acknowledged": also when nothing was sent, for then the old value
            // may still be there.
            Class::Delete if self.is_managed() => Step::ReportDirty,
            _ if op.in_doubt => Step::Answer(Failure::Unknown),
            _ => Step::Answer(Failure::NotDone(op.reason)),
        }
    }

    fn route(&mut self, op: &mut Op, key: &[u8], now: Instant) -> Step {
        let (backend, generation) = match self.place(op, key, now) {
            Ok(place) => place,
            Err(reason) => {
                op.reason = reason;
                return self.unroutable(op, now);
            }
        };
        if let (Class::Bound, Some(generation)) = (op.class, generation)
            && *op.bound.get_or_insert(generation) != generation
        {
            return Step::Answer(Failure::Changed);
        }
        op.tried = Some((backend, generation));
        op.attempts += 1;
        op.attempt_until = (now + self.options.timeout).min(op.deadline);
        Step::Send { backend, generation }
    }

    fn place(&self, op: &Op, key: &[u8], now: Instant) -> Result<Place, Reason> {
        match &self.target {
            Target::Pool(pool) => {
                let up = pool.places(key).find(|&id| self.usable(id));
                up.map(|id| (id, None)).ok_or(Reason::BackendDown)
            }
            Target::Managed { map, backends } => {
                if !self.refresh.is_confirmed(now) {
                    return Err(Reason::MapUnconfirmed);
                }
                let bucket = op.hash.bucket();
                let owner = map.owner_index(bucket).and_then(|index| backends.get(index).copied());
                let id = owner.ok_or(Reason::NoOwner)?;
                if !self.usable(id) {
                    return Err(Reason::BackendDown);
                }
                Ok((id, Some(map.generation(bucket))))
            }
        }
    }

    /// Nowhere to send it now: reads miss at once, writes wait for a newer map, if there will be one.
    fn unroutable(&mut self, op: &mut Op, now: Instant) -> Step {
        if self.is_managed() {
            self.refresh.handle_need(now, &mut self.prng);
        }
        if op.class == Class::Read || !self.is_managed() || now >= op.deadline {
            return self.give_up(op);
        }
        self.park(op, now)
    }
}
