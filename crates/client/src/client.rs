//! The handle that programs hold.

use std::sync::Arc;

use proto::MapVersion;
use proto::request::{Arith, ArithVerb, Storage, StorageVerb};
use route::{Failure, Router};
use stdx::clock;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::driver::{Answer, Driver, Event, NewCall};
use crate::error::{ReadError, StartError, WriteError};
use crate::item::{Cas, CasResult, Expiry, Item};
use crate::limits::{CALLS_QUEUED_MAX, START_TIMEOUT};
use crate::managers::{self, Managers};
use crate::options::{ClientOptions, Target};
use crate::request::Request;
use crate::task::Task;

/// A client of a cluster or of a pool; clones share connections. When the last is dropped, the connections are closed,
/// as soon as no delete is on its way and no dirty report is owed to the manager.
///
/// Keys are 1 to 250 bytes without spaces and control bytes. All calls must be made within a tokio runtime, the one in
/// which the client was made must live on.
///
/// A future that is dropped before it is ready gives its call up: a write that was not sent by then never is, but one
/// that was sent may still happen, in a managed cluster for at most [`route::RouteOptions::timeout`] more. So a write
/// under a time-out of the caller's own needs one longer than [`route::RouteOptions::write_budget`]; else what follows
/// must not rely on its end. A delete that is dropped goes on.
#[derive(Clone, Debug)]
pub struct Client {
    calls: mpsc::Sender<Vec<NewCall>>,
    value_len_max: usize,
}

impl Client {
    /// A client of the cluster with these managers (`host:port`), with default options. Waits for the first map.
    pub async fn managed(managers: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, StartError> {
        let managers = managers.into_iter().map(Into::into).collect();
        Self::start(Target::Managed { managers }, ClientOptions::default()).await
    }

    /// A client of these memcached servers (`host:port`, their order matters), with default options. Keys go where
    /// libmemcached's weighted ketama puts them; those of a server that is down miss.
    pub async fn pool(servers: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, StartError> {
        let servers = servers.into_iter().map(Into::into).collect();
        Self::start(Target::Pool { servers }, ClientOptions::default()).await
    }

    /// A client of either, with options.
    pub async fn start(target: Target, options: ClientOptions) -> Result<Self, StartError> {
        if options.route.replicas != 1 {
            return Err(StartError::Replicas(options.route.replicas));
        }
        let value_len_max = options.value_len_max;
        let seed = clock::random_u64();
        let (router, managers): (Router, Managers) = match target {
            Target::Pool { servers } => (Router::pool(options.route, &servers, seed)?, Arc::default()),
            Target::Managed { managers } => (Router::managed(options.route, seed), managers.into()),
        };
        let mut driver = Driver::new(router, value_len_max);
        if !driver.is_routable() {
            take_first_map(&mut driver, &managers).await?;
        }
        let (calls, to_begin) = mpsc::channel(CALLS_QUEUED_MAX);
        tokio::spawn(Task::new(driver, managers, to_begin).run());
        Ok(Self { calls, value_len_max })
    }

    /// The item of a key. A server that does not answer is a miss.
    pub async fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Item>, ReadError> {
        let answer = self.call(Request::get(key.as_ref(), false)?).await.ok_or(ReadError::Ended)?;
        Ok(item(answer).map(|(item, _)| item))
    }

    /// The item of a key, with what [`Client::cas`] wants.
    pub async fn gets(&self, key: impl AsRef<[u8]>) -> Result<Option<(Item, Cas)>, ReadError> {
        let answer = self.call(Request::get(key.as_ref(), true)?).await.ok_or(ReadError::Ended)?;
        Ok(item(answer).and_then(|(item, cas)| Some((item, cas?))))
    }

    /// The items of many keys, in their order, from all servers at once.
    pub async fn get_many<K: AsRef<[u8]>>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<Vec<Option<Item>>, ReadError> {
        let requests: Result<Vec<Request>, _> =
            keys.into_iter().map(|key| Request::get(key.as_ref(), false)).collect();
        let (calls, answers): (Vec<_>, Vec<_>) = requests?.into_iter().map(new_call).unzip();
        self.calls.send(calls).await.map_err(|_| ReadError::Ended)?;
        let mut items = Vec::with_capacity(answers.len());
        for answer in answers {
            items.push(item(answer.await.map_err(|_| ReadError::Ended)?).map(|(item, _)| item));
        }
        Ok(items)
    }

    /// Stores a value.
    pub async fn set(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expiry: Expiry,
    ) -> Result<(), WriteError> {
        self.set_with_flags(key, value, 0, expiry).await
    }

    /// Stores a value, and a number beside it that [`Item::flags`] shows.
    pub async fn set_with_flags(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        flags: u32,
        expiry: Expiry,
    ) -> Result<(), WriteError> {
        self.store(StorageVerb::Set, key.as_ref(), value.as_ref(), flags, expiry).await.map(drop)
    }

    /// Stores a value if there is no item; false if there is one.
    pub async fn add(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expiry: Expiry,
    ) -> Result<bool, WriteError> {
        self.store(StorageVerb::Add, key.as_ref(), value.as_ref(), 0, expiry).await
    }

    /// Stores a value if there is an item; false if there is none.
    pub async fn replace(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expiry: Expiry,
    ) -> Result<bool, WriteError> {
        self.store(StorageVerb::Replace, key.as_ref(), value.as_ref(), 0, expiry).await
    }

    /// Puts bytes behind a value; false if there is no item.
    pub async fn append(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        self.store(StorageVerb::Append, key.as_ref(), value.as_ref(), 0, Expiry::Never).await
    }

    /// Puts bytes before a value; false if there is no item.
    pub async fn prepend(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        self.store(StorageVerb::Prepend, key.as_ref(), value.as_ref(), 0, Expiry::Never).await
    }

    /// Stores a value if the item is still the one that [`Client::gets`] has read.
    pub async fn cas(
        &self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
        expiry: Expiry,
        cas: Cas,
    ) -> Result<CasResult, WriteError> {
        let verb = StorageVerb::Cas(cas.unique);
        let mut request = self.storage(verb, key.as_ref(), value.as_ref(), 0, expiry)?;
        request.bound = Some(cas);
        match self.call(request).await.ok_or(WriteError::Ended)? {
            Answer::Stored => Ok(CasResult::Stored),
            Answer::Exists | Answer::Failed(Failure::Changed) => Ok(CasResult::Changed),
            Answer::NotFound => Ok(CasResult::Missing),
            other => Err(write_error(other)),
        }
    }

    /// Adds to a decimal number, wrapping at 2^64; the new number, or `None` if there is no item.
    pub async fn incr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>, WriteError> {
        self.arith(ArithVerb::Incr, key.as_ref(), delta).await
    }

    /// Takes from a decimal number, down to 0; the new number, or `None` if there is no item.
    pub async fn decr(&self, key: impl AsRef<[u8]>, delta: u64) -> Result<Option<u64>, WriteError> {
        self.arith(ArithVerb::Decr, key.as_ref(), delta).await
    }

    /// Deletes an item; false if there was none. In a managed cluster this is tried until it is acknowledged, at last
    /// by the manager, so that after `Ok` no read returns what was there.
    pub async fn delete(&self, key: impl AsRef<[u8]>) -> Result<bool, WriteError> {
        match self.call(Request::delete(key.as_ref())?).await.ok_or(WriteError::Ended)? {
            Answer::Deleted => Ok(true),
            Answer::NotFound => Ok(false),
            other => Err(write_error(other)),
        }
    }

    /// Gives an item a new time to live; false if there is none, or if its server does not answer.
    pub async fn touch(&self, key: impl AsRef<[u8]>, expiry: Expiry) -> Result<bool, ReadError> {
        let request = Request::touch(key.as_ref(), expiry.exptime())?;
        Ok(self.call(request).await.ok_or(ReadError::Ended)? == Answer::Touched)
    }

    async fn store(
        &self,
        verb: StorageVerb,
        key: &[u8],
        value: &[u8],
        flags: u32,
        expiry: Expiry,
    ) -> Result<bool, WriteError> {
        let request = self.storage(verb, key, value, flags, expiry)?;
        match self.call(request).await.ok_or(WriteError::Ended)? {
            Answer::Stored => Ok(true),
            Answer::NotStored => Ok(false),
            other => Err(write_error(other)),
        }
    }

    fn storage(
        &self,
        verb: StorageVerb,
        key: &[u8],
        value: &[u8],
        flags: u32,
        expiry: Expiry,
    ) -> Result<Request, WriteError> {
        if value.len() > self.value_len_max {
            return Err(WriteError::TooLong { len: value.len(), max: self.value_len_max });
        }
        let (exptime, value_len) = (expiry.exptime(), value.len());
        let storage = Storage { verb, key, flags, exptime, value_len, noreply: false };
        Ok(Request::storage(&storage, value)?)
    }

    async fn arith(&self, verb: ArithVerb, key: &[u8], delta: u64) -> Result<Option<u64>, WriteError> {
        let request = Request::arith(&Arith { verb, key, delta, noreply: false })?;
        match self.call(request).await.ok_or(WriteError::Ended)? {
            Answer::Number(number) => Ok(Some(number)),
            Answer::NotFound => Ok(None),
            other => Err(write_error(other)),
        }
    }

    /// The answer to a request; `None` when the task has ended.
    async fn call(&self, request: Request) -> Option<Answer> {
        let (call, answer) = new_call(request);
        self.calls.send(vec![call]).await.ok()?;
        answer.await.ok()
    }
}

/// A client that knows no map would miss everything; better to say so where it is made.
async fn take_first_map(driver: &mut Driver, managers: &Managers) -> Result<(), StartError> {
    if managers.is_empty() {
        return Err(StartError::NoManagers);
    }
    let reason = match timeout(START_TIMEOUT, managers::ask_map(managers, MapVersion::NONE)).await {
        Ok(Ok(text)) => {
            driver.apply(Event::Map(Some(text)), clock::now());
            "it has no map yet".to_owned()
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "none has answered".to_owned(),
    };
    if driver.is_routable() {
        return Ok(());
    }
    Err(StartError::NoMap { managers: managers.join(", "), reason })
}

fn new_call(request: Request) -> (NewCall, oneshot::Receiver<Answer>) {
    let (reply, answer) = oneshot::channel();
    (NewCall { request, reply }, answer)
}

fn item(answer: Answer) -> Option<(Item, Option<Cas>)> {
    match answer {
        Answer::Found(item, cas) => Some((item, cas)),
        _ => None,
    }
}

fn write_error(answer: Answer) -> WriteError {
    match answer {
        Answer::Refused(text) => WriteError::Refused(text),
        Answer::ServerError(text) => WriteError::Server(text),
        Answer::Failed(Failure::NotDone(reason)) => reason.into(),
        // The rest is no answer to a write: the pipeline takes replies of the right kind only.
        _ => WriteError::Unknown,
    }
}
