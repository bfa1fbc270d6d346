//! `circlet health`: asks a node whether it is ready, for health checks in images that have no `curl`.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Connecting, asking and reading together may take this long.
const PATIENCE: Duration = Duration::from_secs(3);

/// No honest answer is longer.
const ANSWER_LIMIT_BYTES: u64 = 16 << 10;

/// Asks; the error is the reason why not, in one line.
pub async fn check(host: &str, port: u16) -> Result<(), String> {
    let answer = timeout(PATIENCE, ask(host, port)).await;
    let answer = answer.map_err(|_| format!("{host} port {port} does not answer within {} s", PATIENCE.as_secs()))?;
    let answer = answer.map_err(|error| format!("{host} port {port} does not answer: {error}"))?;
    judge(&String::from_utf8_lossy(&answer))
}

async fn ask(host: &str, port: u16) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(b"GET /ready HTTP/1.1\r\nHost: circlet\r\nConnection: close\r\n\r\n").await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn judge(answer: &str) -> Result<(), String> {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer, ""));
    let status = head.lines().next().unwrap_or_default();
    match status.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)) {
        Some("200") => Ok(()),
        Some("503") => Err(body.lines().next().unwrap_or("not ready").to_owned()),
        _ => Err("what answers is not the admin port of a Circlet node".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[test]
    fn an_answer_is_ready_or_a_reason() {
        let stranger = Err("what answers is not the admin port of a Circlet node".to_owned());
        let cases = [
            ("HTTP/1.1 200 OK\r\n\r\nready\n", Ok(())),
            ("HTTP/1.1 503 Service Unavailable\r\na: b\r\n\r\nnot ready: why\nmore", Err("not ready: why".to_owned())),
            ("HTTP/1.1 404 Not Found\r\n\r\n", stranger.clone()),
            ("-ERR unknown command", stranger.clone()),
            ("HTTP/1.1 20\u{e9}", stranger.clone()),
            ("", stranger),
        ];
        for (answer, wanted) in cases {
            assert_eq!(judge(answer), wanted, "{answer}");
        }
    }

    #[tokio::test]
    async fn nobody_there_is_said() {
        let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let refused = check("127.0.0.1", port).await.unwrap_err();
        assert!(refused.starts_with(&format!("127.0.0.1 port {port} does not answer: ")), "{refused}");
    }

    #[tokio::test]
    async fn an_endless_answer_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
        });
        assert!(check("127.0.0.1", port).await.unwrap_err().starts_with("what answers"));
    }
}
