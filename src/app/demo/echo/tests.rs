use serde_json::json;

use crate::app::demo::caller;

use super::*;

async fn echo() -> Echo {
    Echo::start(caller::listener().await, Transport::Plain).unwrap()
}

#[tokio::test]
async fn a_request_is_described_as_it_came() {
    let echo = echo().await;
    let payload = URL_SAFE_NO_PAD.encode(r#"{"aud":"api://orders-backend","oid":"o"}"#);
    let bearer = format!("Bearer e30.{payload}.c2ln");
    let headers = [("authorization", bearer.as_str()), ("x-a", "1"), ("x-a", "2")];
    let response = caller::send(echo.address(), "PUT", "/orders/%2F?a=b&a", &headers, vec![7; 70_000]).await;
    let (status, head, body) = caller::whole(response).await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, &head[header::CONTENT_TYPE]), (200, &HeaderValue::from_static("application/json")));
    assert_eq!((&body["method"], &body["path"]), (&json!("PUT"), &json!("/orders/%2F?a=b&a")));
    assert_eq!(body["headers"]["x-a"], "1, 2");
    assert_eq!(body["token"], json!({ "aud": "api://orders-backend", "oid": "o" }));
    assert_eq!(body["body_bytes"], 70_000);
    assert_eq!(body.as_object().unwrap().len(), 5);
    assert_eq!(echo.requests(), 1);
    assert_eq!(echo.last_headers().unwrap()["x-a"], "1");
}

#[tokio::test]
async fn a_token_that_is_no_jwt_is_null() {
    let echo = echo().await;
    for authorization in ["Bearer opaque", "Bearer a.b.c", "Basic dTpw", "Bearer"] {
        let headers = [("authorization", authorization)];
        let response = caller::send(echo.address(), "GET", "/", &headers, "").await;
        let (_, _, body) = caller::whole(response).await;
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(body["token"], Value::Null, "{authorization}");
        assert_eq!(body["headers"]["authorization"], authorization);
    }
    let (_, _, body) = caller::read(echo.address(), "/").await;
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap()["token"], Value::Null);
}

#[tokio::test]
async fn the_awkward_answers_are_as_asked() {
    let echo = echo().await;
    for (path, status, body) in [
        ("/demo/status/418", 418, ""),
        ("/demo/status/204", 204, ""),
        ("/demo/drip?chunks=3", 200, "chunk 1\nchunk 2\nchunk 3\n"),
        ("/demo/drip?chunks=0", 200, ""),
    ] {
        let (got, _, text) = caller::read(echo.address(), path).await;
        assert_eq!((got, text.as_str()), (status, body), "{path}");
    }
    for (path, status) in [("/demo/status/101", 400), ("/demo/status/x", 400), ("/demo/none", 404)] {
        assert_eq!(caller::read(echo.address(), path).await.0, status, "{path}");
    }
    let headers = [("content-type", "text/x")];
    let response = caller::send(echo.address(), "POST", "/demo/echo-body", &headers, "hello").await;
    let (_, head, body) = caller::whole(response).await;
    assert_eq!((&head[header::CONTENT_TYPE], body.as_str()), (&HeaderValue::from_static("text/x"), "hello"));
}

#[tokio::test]
async fn trailers_come_after_the_body() {
    let echo = echo().await;
    let response = caller::send(echo.address(), "GET", "/demo/trailers", &[("te", "trailers")], "").await;
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-checksum"], "42");
    assert_eq!(collected.to_bytes(), "body\n");
}

#[tokio::test]
async fn a_reset_comes_after_half_the_answer() {
    let echo = echo().await;
    let mut body = caller::send(echo.address(), "GET", "/demo/reset", &[], "").await.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half\n");
    assert!(body.frame().await.unwrap().is_err());
}

#[tokio::test]
async fn a_hang_lasts_until_the_server_goes() {
    let echo = echo().await;
    let address = echo.address();
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut socket, b"GET /demo/hang HTTP/1.1\r\nhost: a\r\n\r\n")
        .await
        .unwrap();
    while echo.requests() == 0 {
        tokio::task::yield_now().await;
    }
    drop(echo);
    let mut answer = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut socket, &mut answer).await.unwrap();
    assert!(answer.is_empty(), "no byte was answered");
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens any more");
}
