//! Before a real manager and real nodes: nodes come and go, reads never err, nothing old is read.

use std::time::Instant;

use crate::servers::{Cluster, wait_writable};
use crate::socket::PATIENCE;

#[test]
fn nodes_come_and_go_and_no_read_errs_or_returns_what_was_overwritten() {
    let mut cluster = Cluster::start(2);
    let front = cluster.front();
    let mut client = front.connect();
    // Of each key: the newest version that was acknowledged.
    let mut acknowledged = [0_u32; 100];
    let give_up = Instant::now() + 3 * PATIENCE;
    for round in 1..=12 {
        match round {
            4 => cluster.add(),
            8 => cluster.nodes[0].stop(),
            _ => {}
        }
        for (number, acknowledged) in acknowledged.iter_mut().enumerate() {
            assert!(Instant::now() < give_up);
            client.send(format!("get k{number}\r\n"));
            let reply = client.read_to("END\r\n");
            if let Some(value) = reply.lines().nth(1).filter(|_| reply != "END\r\n") {
                let version: u32 = value.parse().unwrap_or_else(|_| panic!("{reply}"));
                assert!(version >= *acknowledged, "k{number} is {version}, {acknowledged} was acknowledged");
            }
            let value = format!("{:05}", round * 1000 + number as u32);
            client.send(format!("set k{number} 0 0 5\r\n{value}\r\n"));
            match &client.read_to("\r\n")[..] {
                "STORED\r\n" => *acknowledged = value.parse().unwrap(),
                other => assert!(other.starts_with("SERVER_ERROR "), "{other}"),
            }
        }
    }
    wait_writable(&front);
}

#[test]
fn deletes_are_acknowledged_while_a_node_goes() {
    let mut cluster = Cluster::start(3);
    let front = cluster.front();
    let mut client = front.connect();
    for number in 0..200 {
        client.check(format!("set k{number} 0 0 1\r\nx\r\n"), "STORED\r\n");
    }
    cluster.nodes[1].stop();
    for number in 0..200 {
        client.send(format!("delete k{number}\r\n"));
        let reply = client.read_to("\r\n");
        assert!(["DELETED\r\n", "NOT_FOUND\r\n"].contains(&&reply[..]), "{reply}");
        client.check(format!("get k{number}\r\n"), "END\r\n");
    }
}

#[test]
fn flush_all_is_refused_until_generations_can_do_it() {
    let cluster = Cluster::start(1);
    let front = cluster.front();
    let mut client = front.connect();
    client.check("flush_all\r\n", "SERVER_ERROR flush_all is not possible in a managed cluster\r\n");
    client.check("flush_all noreply\r\nversion\r\n", "VERSION 1.6.200\r\n");
    // The words of managed nodes are not for a proxy's clients.
    client.check(
        "bg 1:1\r\nnode\r\nclock\r\nmap\r\nown 1:1\r\n",
        "ERROR\r\nERROR\r\nERROR\r\nERROR\r\nERROR\r\n",
    );
}
