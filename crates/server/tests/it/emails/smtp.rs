//! E-mail through a mail server.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::{apart, hello, make_due, record, set, until, with};
use crate::support::mailbox;

#[tokio::test]
async fn a_mail_server_gets_the_mail_and_its_refusals_are_told() {
    for (agent, name) in apart().await.iter().zip(["relm", "agentcrm"]) {
        let server = json!({"provider": "smtp", "url": mailbox().url, "from_email": "Shop <shop@shop.example>"});
        let said = record(&set(agent, server).await.status(200));
        assert_eq!(
            (&said["provider"], &said["configured"], &said["verified"]),
            (&json!("smtp"), &json!(true), &json!(true))
        );
        let to = format!("smtp-{name}@x.example");
        let sent = record(&agent.post("/v1/emails", with("to", json!(to))).await.status(201));
        assert_eq!((&sent["status"], &sent["provider"]), (&json!("sent"), &json!("smtp")));
        let mails = mailbox().wait(&to, 1).await;
        let message_id = sent["provider_msg_id"].as_str().unwrap();
        assert_eq!(message_id, format!("<{}@shop.example>", sent["id"].as_str().unwrap()));
        for part in [message_id, "Subject: Hello", "From: Ada <ada@shop.example>", "Hello Sarah, how are you?"] {
            assert!(mails[0].text.contains(part), "{part}: {}", mails[0].text);
        }
        agent
            .post("/v1/emails", with("to", json!(format!("refused-{name}@x.example"))))
            .await
            .fault(422, "email_rejected")
            .says("no such mailbox");
        let later = format!("later-smtp-{name}@x.example");
        let queued = record(&agent.post("/v1/emails", with("to", json!(later))).await.status(202));
        make_due(agent).await;
        until(agent, queued["id"].as_str().unwrap(), "sent").await;
        assert_eq!(mailbox().wait(&later, 1).await.len(), 1);
        // A server that is not there.
        let gone = json!({"provider": "smtp", "host": "127.0.0.1", "port": 1, "from_email": "a@b.example"});
        assert_eq!(record(&set(agent, gone).await.status(200))["verified"], false);
        assert_eq!(record(&agent.post("/v1/emails", hello()).await.status(202))["status"], "queued");
    }
}

/// A mail server that serves each connection like this. Returns its port.
async fn server<F: Future<Output = std::io::Result<()>> + Send + 'static>(
    serve: impl Fn(BufReader<TcpStream>) -> F + Send + 'static,
) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(BufReader::new(stream)));
        }
    });
    port
}

/// Only so much of a server's replies is read: its line need not end.
#[tokio::test]
async fn a_mail_server_cannot_fill_the_memory() {
    const MOST: usize = 64 << 20;
    for greeting in ["", "220 ready\r\n"] {
        let written = Arc::new(AtomicUsize::new(0));
        let count = written.clone();
        let port = server(move |mut stream| {
            let count = count.clone();
            async move {
                stream.write_all(greeting.as_bytes()).await?;
                let mut line = String::new();
                if !greeting.is_empty() {
                    stream.read_line(&mut line).await?;
                }
                stream.write_all(if greeting.is_empty() { b"220-" } else { b"250-" }).await?;
                while count.load(Ordering::Relaxed) < MOST {
                    count.fetch_add(stream.write(&[b'x'; 64 << 10]).await?, Ordering::Relaxed);
                }
                Ok(())
            }
        })
        .await;
        let [agent, _] = apart().await;
        let settings = json!({"provider": "smtp", "url": format!("smtp://127.0.0.1:{port}?tls=none"), "from_email": "a@b.example"});
        assert_eq!(record(&set(&agent, settings).await.status(200))["verified"], false);
        let queued = record(&agent.post("/v1/emails", hello()).await.status(202));
        assert_eq!(queued["status"], "queued");
        // What the sockets hold counts too.
        let written = written.load(Ordering::Relaxed);
        assert!(written < MOST / 2, "{written} bytes were taken");
    }
}

/// What a server repeats of the log-in is not shown.
#[tokio::test]
async fn a_mail_server_that_repeats_the_password_is_not_quoted() {
    let port = server(|mut stream| async move {
        stream.write_all(b"220 ready\r\n").await?;
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let reply = match line.starts_with("EHLO") {
                true => "250-hello\r\n250 AUTH PLAIN\r\n".to_owned(),
                false => format!("535 bad: hunter2-hunter2 in {line}"),
            };
            stream.write_all(reply.as_bytes()).await?;
        }
    })
    .await;
    let [agent, _] = apart().await;
    let url = format!("smtp://ada:hunter2-hunter2@127.0.0.1:{port}?tls=none");
    set(&agent, json!({"provider": "smtp", "url": url, "from_email": "a@b.example"})).await.status(200);
    let refused = agent.post("/v1/emails", hello()).await.fault(422, "email_rejected");
    assert!(refused.story().contains("535 bad: *** in AUTH PLAIN ***\""), "{}", refused.story());
}

/// A mail server knows no idempotency keys. What it may have got twice is said.
#[tokio::test]
async fn a_mail_server_whose_answer_is_lost_may_get_the_mail_twice_and_that_is_said() {
    let got = Arc::new(std::sync::Mutex::new(Vec::<String>::new()));
    let kept = got.clone();
    let port = server(move |mut stream| {
        let kept = kept.clone();
        async move {
            stream.write_all(b"220 ready\r\n").await?;
            let (mut line, mut text, mut is_data) = (String::new(), String::new(), false);
            loop {
                line.clear();
                if stream.read_line(&mut line).await? == 0 {
                    return Ok(());
                }
                if is_data && line != ".\r\n" {
                    text += &line;
                    continue;
                }
                if is_data {
                    let number = {
                        let mut all = kept.lock().unwrap();
                        all.push(std::mem::take(&mut text));
                        all.len()
                    };
                    // The first message is taken, and the connection breaks before the answer.
                    if number == 1 {
                        return Ok(());
                    }
                }
                is_data = line.starts_with("DATA");
                stream.write_all(if is_data { b"354 go on\r\n" } else { b"250 fine\r\n" }).await?;
            }
        }
    })
    .await;
    let [agent, _] = apart().await;
    let url = format!("smtp://127.0.0.1:{port}?tls=none");
    set(&agent, json!({"provider": "smtp", "url": url, "from_email": "a@b.example"})).await.status(200);
    let queued = record(&agent.post("/v1/emails", hello()).await.status(202));
    assert!(queued["status_reason"].as_str().unwrap().contains("The next attempt is at"), "{queued}");
    make_due(&agent).await;
    let sent = until(&agent, queued["id"].as_str().unwrap(), "sent").await;
    assert!(sent["status_reason"].as_str().unwrap().contains("arrived twice, with the same Message-ID"), "{sent}");
    let got = got.lock().unwrap().clone();
    let ids: Vec<&str> =
        got.iter().filter_map(|text| text.lines().find(|line| line.starts_with("Message-ID: "))).collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
}
