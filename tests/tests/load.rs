//! The driver of the load generator, against a server that refuses everything.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use circlet_tests::bench_binary;
use circlet_tests::load::Load;

/// A server that answers every request line that starts an array with an error.
fn refusing() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut output = stream.try_clone().expect("a second handle");
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    if line.starts_with('*') && output.write_all(b"-ERR no\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn a_stopped_load_reports_what_it_saw() {
    let mut load = Load::start(bench_binary!(), &refusing(), "--connections 2 --duration 600 --rate 100");
    load.seconds(1);
    let report = load.stop();
    assert!(report.sum("errors") > 50.0, "{report:?}");
    assert_eq!(report.sum("commands"), 0.0);
    report.assert_no_bad_read("nothing was read");
    assert!(std::panic::catch_unwind(|| report.assert_clean("errors are not clean")).is_err());
}
