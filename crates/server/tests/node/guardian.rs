//! The guardian: death is proven after the wait, signals are passed on, and the node does not outlive it.
//!
//! The test binary plays the child processes: a test that is started with a role in its environment is one.

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::thread;
use std::time::Duration;

use doled_server::guardian::{self, Guardian};
use proto::control::{Life, Message};
use proto::{ClusterId, Incarnation};
use rustix::process::Signal;

use super::manager::FakeManager;

const ROLE_ENV: &str = "DOLED_TEST_ROLE";

fn life() -> Life {
    Life { cluster: ClusterId(0), node: "n1".parse().unwrap(), incarnation: Incarnation(77) }
}

#[test]
fn a_death_is_reported_after_the_wait() {
    let manager = FakeManager::start();
    let mut command = Command::new("sleep");
    command.arg("1000");
    let guardian = Guardian::start(command).unwrap();
    let forward = guardian.forward();
    let managers = vec![manager.address()];
    let status = thread::scope(|scope| {
        scope.spawn(|| {
            let mut talk = manager.accept();
            assert_eq!(talk.next(), Some(Message::Dead(life())));
            // The first answer is lost; the word is said again.
            drop(talk);
            let mut talk = manager.accept();
            assert_eq!(talk.next(), Some(Message::Dead(life())));
            talk.send(&Message::Done);
        });
        forward.send(Signal::KILL);
        guardian.wait(life(), &managers).unwrap()
    });
    assert_eq!(status.signal(), Some(9));
    // Nobody has that number any more, so this goes nowhere.
    forward.send(Signal::KILL);
}

#[test]
fn the_exit_status_is_the_childs() {
    let manager = FakeManager::start();
    let mut command = Command::new("sh");
    command.args(["-c", "exit 3"]);
    let managers = [manager.address()];
    let answer = thread::spawn(move || {
        let mut talk = manager.accept();
        assert!(matches!(talk.next(), Some(Message::Dead(_))));
        talk.send(&Message::Done);
    });
    let status = Guardian::start(command).unwrap().wait(life(), &managers).unwrap();
    assert_eq!(status.code(), Some(3));
    answer.join().unwrap();
}

#[test]
fn signals_are_passed_on() {
    let mut child = role("guardian").stdout(Stdio::piped()).spawn().unwrap();
    let output = wait_until_tied(&mut child);
    let guardian = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(guardian, Signal::TERM).unwrap();
    drain(output);
    assert_eq!(child.wait().unwrap().code(), Some(128 + 15));
}

#[test]
fn the_node_does_not_outlive_its_guardian() {
    let mut guardian = role("guardian").stdout(Stdio::piped()).spawn().unwrap();
    let output = wait_until_tied(&mut guardian);
    guardian.kill().unwrap();
    guardian.wait().unwrap();
    drain(output);
}

fn wait_until_tied(guardian: &mut Child) -> BufReader<ChildStdout> {
    let mut output = BufReader::new(guardian.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("tied") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0, "the node ended before it was tied");
    }
    output
}

/// The pipe ends when its last holder, the node, is gone.
fn drain(mut output: BufReader<ChildStdout>) {
    let mut rest = String::new();
    output.read_to_string(&mut rest).unwrap();
}

/// This test alone, in a process of its own with a role.
fn role(name: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "guardian::as_a_child_process", "--nocapture"]).env(ROLE_ENV, name);
    command
}

/// Nothing on its own.
#[test]
#[allow(clippy::print_stdout, reason = "the parent reads it")]
fn as_a_child_process() {
    match env::var(ROLE_ENV).as_deref() {
        Ok("guardian") => {
            // A test's own exit code can't be chosen, so the process ends here. The thread that waits is not
            // the main one, but lives as long.
            let code = guardian::run(role("node"), life(), &[]).unwrap();
            let code = (0..=255).find(|n| ExitCode::from(*n) == code).unwrap();
            std::process::exit(i32::from(code));
        }
        Ok("node") => {
            guardian::tie_to_guardian().unwrap();
            println!("\ntied");
            thread::sleep(Duration::from_secs(1000));
        }
        _ => {}
    }
}
