//! "Node/Exec" in the simulated shell: a command is checked when it was received, and applied then or later.

use cluster::node::may_execute;
use proto::Generation;

use crate::client::{Answer, Request, What};
use crate::clocks::MS;
use crate::mutant::Mutant;
use crate::node::Item;
use crate::world::{Event, Link, World};

impl World {
    /// "Node/Exec", first half: lease and generation, then the deadline of a creating command.
    pub(crate) fn check_request(&mut self, node: usize, request: Request) {
        let now = self.node_clock(node);
        let mutant = self.mutant;
        let Some(process) = self.nodes[node].process.as_mut() else {
            return;
        };
        let bucket = &mut process.buckets[request.bucket];
        if bucket.locked && request.what != What::Get {
            return bucket.waiting.push(Event::Request { node, request });
        }
        let mut asked = request.generation;
        if mutant == Some(Mutant::NoGenerationCheck) && bucket.tag != 0 {
            asked = Generation(bucket.tag);
        }
        if may_execute(bucket.tag, asked, process.lease, now).is_err() {
            return self.answer_client(node, &request, Answer::NotOwner);
        }
        let creates = matches!(request.what, What::Set(_));
        if creates && now.boot > request.stamp && mutant != Some(Mutant::NoDeadline) {
            return self.answer_client(node, &request, Answer::Expired);
        }
        let (held, life) = (Generation(bucket.tag), process.incarnation);
        self.ghosts.execute(request.bucket, held, request.generation, life);
        let request = Request { generation: held, ..request };
        self.check_alone(node, request.bucket);
        if self.chance(self.faults.slow_request) {
            let most = if self.prng.chance(1, 4) { 2500 * MS } else { 60 * MS };
            let at = self.now + self.between(MS, most);
            if request.what != What::Get
                && let Some(process) = self.nodes[node].process.as_mut()
            {
                process.buckets[request.bucket].locked = true;
            }
            self.schedule(at, Event::Apply { node, request });
        } else {
            self.apply_request(node, request);
        }
    }

    /// I1: while this node executes, nobody else can.
    fn check_alone(&mut self, node: usize, bucket: usize) {
        for other in (0..self.nodes.len()).filter(|&other| other != node) {
            if let Some(held) = self.nodes[other].can_act(bucket, self.now) {
                self.ghosts.violate(format!(
                    "I1: n{node} executes in bucket {bucket}, n{other} could at the same time, at {held}"
                ));
            }
        }
    }

    /// "Node/Exec", second half, still under the bucket's lock for mutations.
    pub(crate) fn apply_request(&mut self, node: usize, request: Request) {
        let now = self.node_clock(node);
        let Some(process) = self.nodes[node].process.as_mut() else {
            return;
        };
        let base = process.machine.holding(bucket_of(request.bucket)).map(|(_, base)| base);
        let bucket = &mut process.buckets[request.bucket];
        let answer = match request.what {
            What::Get => {
                let item = bucket.items.get(&request.key).copied();
                if let (Some(item), Some(base)) = (item, base)
                    && item.generation < base
                    && bucket.tag == request.generation.0
                {
                    let generation = item.generation;
                    self.ghosts.violate(format!(
                        "I2: n{node} shows an item of generation {generation} above base {base}"
                    ));
                }
                Answer::Read(item.map(|item| item.value))
            }
            What::Delete => {
                bucket.items.remove(&request.key);
                Answer::Done
            }
            What::Set(value) => {
                bucket.items.insert(request.key, Item { value, generation: request.generation });
                let keeps = matches!(self.mutant, Some(Mutant::NoDeadline | Mutant::DeadlineOnlyBefore));
                // "a creating op re-reads the clock after it applied and drops the key if past the deadline"
                if now.boot > request.stamp && !keeps {
                    bucket.items.remove(&request.key);
                    Answer::Expired
                } else {
                    if self.now > request.returns {
                        self.ghosts.violate(format!(
                            "I6: n{node} applies op {} after its client returned",
                            request.op
                        ));
                    }
                    Answer::Done
                }
            }
        };
        if request.what != What::Get {
            bucket.locked = false;
            let waiting = std::mem::take(&mut bucket.waiting);
            if bucket.tag != request.generation.0 {
                let (tag, checked) = (bucket.tag, request.generation);
                self.ghosts.violate(format!("I3: n{node} applies at {tag} what was checked at {checked}"));
            }
            for event in waiting {
                self.schedule(self.now, event);
            }
        }
        self.answer_client(node, &request, answer);
    }

    fn answer_client(&mut self, node: usize, request: &Request, answer: Answer) {
        let event = Event::Answer { op: request.op, attempt: request.attempt, answer };
        self.send(Link::NodeToClient(node), event);
    }
}

fn bucket_of(bucket: usize) -> proto::Bucket {
    proto::Bucket::new(bucket as u16).expect("simulated buckets exist")
}
