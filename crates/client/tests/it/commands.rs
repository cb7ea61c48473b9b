//! Every command, against a static pool and against a managed cluster.

use std::time::Duration;

use doled_client::{
    CasResult, Client, ClientOptions, Expiry, Fault, KeyError, ReadError, Target, WriteError,
};

use crate::servers::{Cluster, Server, pool};

#[tokio::test]
async fn every_command_over_a_pool() {
    let servers = [Server::plain(), Server::plain()];
    let client = pool(&servers).await;
    every_command(&client).await;
}

#[tokio::test]
async fn every_command_in_a_cluster() {
    let cluster = Cluster::start(3);
    let client = cluster.client().await;
    every_command(&client).await;
}

async fn every_command(client: &Client) {
    for number in 0..20 {
        stores_and_reads(client, &format!("key-{number}")).await;
    }
    counts(client).await;
    reads_many(client).await;
    says_whose_fault_it_is(client).await;
}

async fn stores_and_reads(client: &Client, key: &str) {
    let value = async |key: &str| client.get(key).await.unwrap().map(|item| item.value);
    assert_eq!(value(key).await, None);
    assert_eq!(client.replace(key, "no", Expiry::Never).await, Ok(false));
    assert_eq!(client.append(key, "no").await, Ok(false));
    assert_eq!(client.touch(key, Expiry::Never).await, Ok(false));
    assert_eq!(client.delete(key).await, Ok(false));
    assert_eq!(client.add(key, "one", Expiry::After(Duration::from_secs(60))).await, Ok(true));
    assert_eq!(client.add(key, "two", Expiry::Never).await, Ok(false));
    assert_eq!(client.prepend(key, "<").await, Ok(true));
    assert_eq!(client.append(key, ">").await, Ok(true));
    assert_eq!(value(key).await.unwrap(), b"<one>");
    client.set_with_flags(key, "set", 77, Expiry::Never).await.unwrap();
    let (item, cas) = client.gets(key).await.unwrap().unwrap();
    assert_eq!((&item.value[..], item.flags), (&b"set"[..], 77));
    assert_eq!(client.cas(key, "first", Expiry::Never, cas).await, Ok(CasResult::Stored));
    assert_eq!(client.cas(key, "second", Expiry::Never, cas).await, Ok(CasResult::Changed));
    assert_eq!(value(key).await.unwrap(), b"first");
    assert_eq!(client.touch(key, Expiry::After(Duration::from_secs(9))).await, Ok(true));
    assert_eq!(client.delete(key).await, Ok(true));
    assert_eq!(client.cas(key, "third", Expiry::Never, cas).await, Ok(CasResult::Missing));
    client.set(key, "gone at once", Expiry::After(Duration::ZERO)).await.unwrap();
    assert_eq!(value(key).await, None);
    client.set(key, "", Expiry::Never).await.unwrap();
    assert_eq!(value(key).await.unwrap(), b"");
}

async fn counts(client: &Client) {
    assert_eq!(client.incr("n", 1).await, Ok(None));
    client.set("n", "9", Expiry::Never).await.unwrap();
    assert_eq!(client.incr("n", 2).await, Ok(Some(11)));
    assert_eq!(client.decr("n", 100).await, Ok(Some(0)));
    client.set("n", "x", Expiry::Never).await.unwrap();
    let error = client.incr("n", 1).await.unwrap_err();
    assert_eq!(error, WriteError::Refused("cannot increment or decrement non-numeric value".to_owned()));
    assert_eq!((error.fault(), error.is_unknown(), error.is_retryable()), (Fault::Caller, false, false));
}

async fn reads_many(client: &Client) {
    let keys: Vec<String> = (0..300).map(|number| format!("many-{number}")).collect();
    for key in keys.iter().step_by(2) {
        client.set(key, key, Expiry::Never).await.unwrap();
    }
    let items = client.get_many(&keys).await.unwrap();
    for (index, (key, item)) in keys.iter().zip(items).enumerate() {
        let expected = (index % 2 == 0).then(|| key.clone().into_bytes());
        assert_eq!(item.map(|item| item.value), expected);
    }
    assert_eq!(client.get_many(Vec::<String>::new()).await.unwrap(), Vec::new());
    let big = vec![b'x'; 900_000];
    client.set("big", &big, Expiry::Never).await.unwrap();
    let items = client.get_many(["big", "many-0", "big"]).await.unwrap();
    assert_eq!(
        items.iter().flatten().map(|item| item.value.len()).collect::<Vec<_>>(),
        [900_000, 6, 900_000]
    );
}

async fn says_whose_fault_it_is(client: &Client) {
    let key = KeyError::Byte { byte: b' ', at: 1 };
    assert_eq!(client.get("a b").await, Err(ReadError::Key(key)));
    assert_eq!(client.delete("a b").await, Err(WriteError::Key(key)));
    assert_eq!(client.get_many(["fine", ""]).await, Err(ReadError::Key(KeyError::Empty)));
    let error = client.set("k", vec![0; (1 << 20) + 1], Expiry::Never).await.unwrap_err();
    assert_eq!(error, WriteError::TooLong { len: (1 << 20) + 1, max: 1 << 20 });
    // Within our limit, but with its header not within the server's: the old value is gone, as with memcached.
    client.set("k", "old", Expiry::Never).await.unwrap();
    let error = client.set("k", vec![0; 1 << 20], Expiry::Never).await.unwrap_err();
    assert_eq!(error, WriteError::Server("object too large for cache".to_owned()));
    assert_eq!((error.fault(), error.is_unknown()), (Fault::Cluster, false));
    assert_eq!(client.get("k").await, Ok(None));
}

#[tokio::test]
async fn a_client_that_cannot_work_is_not_made() {
    let refused =
        async |target: Target| Client::start(target, ClientOptions::default()).await.unwrap_err().to_string();
    let of = |servers: &[&str]| Target::Pool { servers: servers.iter().map(ToString::to_string).collect() };
    let managers =
        |managers: &[&str]| Target::Managed { managers: managers.iter().map(ToString::to_string).collect() };
    assert_eq!(refused(of(&[])).await, "a pool needs at least one server");
    assert_eq!(refused(of(&["a:1", "a:1"])).await, "a:1 stands twice in the pool");
    assert_eq!(refused(of(&["a"])).await, "\"a\" is not host:port");
    assert_eq!(refused(managers(&[])).await, "a managed client needs the address of at least one manager");
    // Bound and not listened on: refused.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let error = refused(managers(&[&socket])).await;
    assert!(error.contains(&socket) && error.contains("refused"), "{error}");
    let mut options = ClientOptions::default();
    options.route.replicas = 2;
    let error = Client::start(of(&["a:1", "b:1"]), options).await.unwrap_err().to_string();
    assert!(error.starts_with("replicas = 2"), "{error}");
}
