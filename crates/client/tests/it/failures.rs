//! What callers see when servers fail, when calls are dropped, and when much is asked at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use doled_client::{Client, Expiry, ReadError, Target, WriteError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::servers::{Cluster, PATIENCE, Server, patient, pool};

#[tokio::test]
async fn a_pools_server_that_is_gone_misses_and_says_that_nothing_was_written() {
    let mut servers = [Server::plain(), Server::plain()];
    let client = pool(&servers).await;
    let keys: Vec<String> = (0..50).map(|number| format!("k{number}")).collect();
    for key in &keys {
        client.set(key, "v", Expiry::Never).await.unwrap();
    }
    servers[0].stop();
    let (mut hits, mut refused) = (0, 0);
    for key in &keys {
        hits += usize::from(client.get(key).await.unwrap().is_some());
        match client.set(key, "w", Expiry::Never).await {
            Ok(()) => {}
            Err(error) => {
                assert!(matches!(error, WriteError::NotDone(_) | WriteError::Unknown), "{error}");
                refused += 1;
            }
        }
    }
    assert!(hits > 5 && refused > 5 && hits + refused == 50, "{hits} hits, {refused} refused");
}

#[tokio::test]
async fn a_managed_node_that_goes_costs_only_misses() {
    let mut cluster = Cluster::start(3);
    let client = cluster.client().await;
    let keys: Vec<String> = (0..100).map(|number| format!("k{number}")).collect();
    for key in &keys {
        client.set(key, "old", Expiry::Never).await.unwrap();
    }
    cluster.nodes[1].stop();
    let give_up = Instant::now() + PATIENCE;
    for key in &keys {
        // A read never errs; a write may have to wait for the new owner.
        client.get(key).await.unwrap();
        while let Err(error) = client.set(key, "new", Expiry::Never).await {
            assert!(Instant::now() < give_up && !matches!(error, WriteError::Refused(_)), "{error}");
        }
        assert_eq!(client.get(key).await.unwrap().unwrap().value, b"new");
        client.delete(key).await.unwrap();
        assert_eq!(client.get(key).await.unwrap(), None);
    }
    cluster.add();
    for key in &keys {
        while client.set(key, "newer", Expiry::Never).await.is_err() {
            assert!(Instant::now() < give_up, "{key} cannot be written");
        }
    }
}

#[tokio::test]
async fn a_cas_does_not_cross_a_change_of_owner() {
    let mut cluster = Cluster::start(2);
    let client = cluster.client().await;
    let keys: Vec<String> = (0..40).map(|number| format!("k{number}")).collect();
    let mut read = Vec::new();
    for key in &keys {
        client.set(key, "v", Expiry::Never).await.unwrap();
        read.push(client.gets(key).await.unwrap().unwrap().1);
    }
    cluster.nodes[0].stop();
    let give_up = Instant::now() + PATIENCE;
    let mut changed = 0;
    for (key, cas) in keys.iter().zip(read) {
        while client.set(key, "w", Expiry::Never).await.is_err() {
            assert!(Instant::now() < give_up, "{key} cannot be written");
        }
        assert_eq!(client.cas(key, "x", Expiry::Never, cas).await, Ok(doled_client::CasResult::Changed));
        changed += usize::from(client.get(key).await.unwrap().unwrap().value == b"w");
    }
    assert_eq!(changed, keys.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_calls_never_hand_their_replies_to_others() {
    let servers = [Server::plain(), Server::plain()];
    let client = Arc::new(pool(&servers).await);
    for number in 0..100 {
        client.set(format!("k{number}"), format!("v{number}"), Expiry::Never).await.unwrap();
    }
    let mut tasks = JoinSet::new();
    for task in 0..20_u64 {
        let client = Arc::clone(&client);
        tasks.spawn(async move {
            for round in 0..200 {
                let number = (task * 31 + round * 7) % 100;
                let key = format!("k{number}");
                // Some are dropped at whatever point they have come to.
                let within = Duration::from_micros(if round % 3 == 0 { round * 3 % 90 } else { 20_000_000 });
                if let Ok(item) = tokio::time::timeout(within, client.get(&key)).await {
                    assert_eq!(item.unwrap().unwrap().value, format!("v{number}").into_bytes());
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

#[tokio::test]
async fn a_server_that_is_silent_is_a_miss_after_the_time_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::pool([listener.local_addr().unwrap().to_string()]).await.unwrap();
    let begun = Instant::now();
    assert_eq!(client.get("k").await, Ok(None));
    assert!(begun.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn a_server_that_answers_garbage_or_half_a_value_fails_that_request_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut options = patient();
    options.route.probe_pause_min = Duration::from_millis(5);
    options.route.probe_pause_max = Duration::from_millis(5);
    let target = Target::Pool { servers: vec![listener.local_addr().unwrap().to_string()] };
    let client = Client::start(target, options).await.unwrap();
    let answers: &[&[u8]] = &[
        b"VALUE k 0 5\r\nhe",
        b"VALUE k 0 5\r\nhello, longer\r\nEND\r\n",
        b"VALUE other 0 1\r\nx\r\nEND\r\n",
        b"\x81\x00\x00\x01 binary\r\n",
        b"VALUE k 0 99999999999999999999\r\n",
        b"STORED\r\n",
    ];
    let server = async {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            expect(&mut stream, b"version\r\n").await;
            stream.write_all(b"VERSION 1.6.45\r\n").await.unwrap();
            expect(&mut stream, b"get k\r\n").await;
            stream.write_all(answer).await.unwrap();
        }
        let (mut stream, _) = listener.accept().await.unwrap();
        expect(&mut stream, b"version\r\n").await;
        stream.write_all(b"VERSION 1.6.45\r\n").await.unwrap();
        expect(&mut stream, b"get k\r\n").await;
        stream.write_all(b"VALUE k 0 5\r\nhello\r\nEND\r\n").await.unwrap();
        stream
    };
    let caller = async {
        let give_up = Instant::now() + PATIENCE;
        // Each failure takes the server down for a moment, so that calls in between miss without asking.
        loop {
            if let Some(item) = client.get("k").await.unwrap() {
                return assert_eq!(item.value, b"hello");
            }
            assert!(Instant::now() < give_up);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::join!(server, caller);
}

async fn expect(stream: &mut tokio::net::TcpStream, bytes: &[u8]) {
    let mut read = vec![0; bytes.len()];
    stream.read_exact(&mut read).await.unwrap();
    assert_eq!(read, bytes);
}

#[test]
fn a_client_ends_with_its_runtime() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(Client::pool(["127.0.0.1:1"])).unwrap();
    drop(runtime);
    let other = tokio::runtime::Runtime::new().unwrap();
    assert_eq!(other.block_on(client.get("k")), Err(ReadError::Ended));
    assert_eq!(other.block_on(client.set("k", "v", Expiry::Never)), Err(WriteError::Ended));
}
