//! The watch over gRPC, with tonic's own client over TLS.

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Code, Request, Status, Streaming,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use wright_pki::Authority;
use wright_protocol::watch::{
    Change, WatchEvent, WatchRequest, What, watch_client::WatchClient, watch_event::Event,
};

use super::bed::Bed;
use crate::http::{router, tls};

/// A server's API, and a link to it; it ends with the guard.
async fn linked(bed: &Bed) -> (WatchClient<Channel>, DropGuard) {
    let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let listener = tokio::net::TcpListener::bind(local).await.unwrap();
    let address = listener.local_addr().unwrap();
    let authority = Authority::generate().unwrap();
    let identity = authority
        .issue_server(&["localhost".to_owned()], &[local.ip()])
        .unwrap();
    let config = Arc::new(tls::config(&identity).unwrap());
    let end = CancellationToken::new();
    tokio::spawn(tls::serve(
        listener,
        config,
        router(bed.rooms.clone()),
        end.clone(),
    ));
    let trusted = Certificate::from_pem(authority.certificate());
    let trust = ClientTlsConfig::new()
        .ca_certificate(trusted)
        .domain_name("localhost");
    let url = format!("https://127.0.0.1:{}", address.port());
    let endpoint = Endpoint::from_shared(url)
        .unwrap()
        .tls_config(trust)
        .unwrap();
    let channel = endpoint.connect().await.unwrap();
    (WatchClient::new(channel), end.drop_guard())
}

async fn watch(
    client: &WatchClient<Channel>,
    token: &str,
    wanted: WatchRequest,
) -> Result<Streaming<WatchEvent>, Status> {
    let mut request = Request::new(wanted);
    let shown = format!("Bearer {token}").parse().unwrap();
    request.metadata_mut().insert("authorization", shown);
    Ok(client.clone().watch(request).await?.into_inner())
}

/// The next change, and where its reader stands then.
async fn next(events: &mut Streaming<WatchEvent>) -> (String, Change) {
    loop {
        let WatchEvent { position, event } = events.message().await.unwrap().unwrap();
        if let Some(Event::Change(change)) = event {
            return (position, change);
        }
    }
}

fn hosts(filter: &str, from: &str) -> WatchRequest {
    WatchRequest {
        kinds: vec!["host".to_owned()],
        filter: filter.to_owned(),
        from: from.to_owned(),
        ..WatchRequest::default()
    }
}

fn racks(filter: &str) -> WatchRequest {
    WatchRequest {
        kinds: vec!["rack".to_owned()],
        filter: filter.to_owned(),
        ..WatchRequest::default()
    }
}

#[tokio::test]
async fn a_watch_tells_every_change_and_goes_on_after_a_position() {
    let bed = Bed::start().await;
    let (client, _end) = linked(&bed).await;
    let token = bed.token(&["administrator"]).await;
    let wanted = hosts("host.state == 'lost'", "");
    let mut events = watch(&client, &token, wanted).await.unwrap();
    for state in ["ready", "lost", "dead"] {
        bed.put("host", "h1", json!({ "state": state })).await;
    }
    let (position, entered) = next(&mut events).await;
    assert_eq!(
        (entered.what(), entered.name.as_str()),
        (What::Entered, "h1")
    );
    let after: Value = serde_json::from_slice(&entered.after).unwrap();
    assert_eq!(after["body"]["state"], "lost");
    assert_eq!(entered.fields, ["body.state"]);
    assert_eq!(entered.revision.to_string(), position);
    let (_, left) = next(&mut events).await;
    assert_eq!(left.what(), What::Left);
    drop(events);

    let mut events = watch(&client, &token, hosts("", &position)).await.unwrap();
    let (_, changed) = next(&mut events).await;
    assert_eq!(
        (changed.what(), changed.revision),
        (What::Changed, left.revision)
    );
    bed.stop().await;
}

#[tokio::test]
async fn a_watch_is_for_who_is_known_and_understood() {
    let bed = Bed::start().await;
    let (client, _end) = linked(&bed).await;
    let token = bed.token(&["administrator"]).await;
    for (token, wanted, code) in [
        ("wright_unknown", hosts("", ""), Code::Unauthenticated),
        (&*token, racks("rack.unit > 40"), Code::InvalidArgument),
        (&*token, hosts("", "nonsense"), Code::InvalidArgument),
        (&*token, hosts("", "9999999"), Code::InvalidArgument),
        (
            &*token,
            WatchRequest {
                group: "none".to_owned(),
                ..hosts("", "")
            },
            Code::NotFound,
        ),
    ] {
        let refused = watch(&client, token, wanted.clone()).await.unwrap_err();
        assert_eq!(refused.code(), code, "{wanted:?}: {refused:?}");
    }
    bed.stop().await;
}

#[tokio::test]
async fn a_watch_tells_only_what_its_caller_may_read() {
    let bed = Bed::start().await;
    let (client, _end) = linked(&bed).await;
    let rules = json!([{ "kinds": ["host"], "acts": ["read"], "except": ["cost"] }]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let mut events = watch(&client, &webs, hosts("", "")).await.unwrap();
    for (name, team) in [("h1", "data"), ("h2", "web")] {
        let body = json!({ "team": team, "cost": "much", "reason": "new" });
        bed.put("host", name, body).await;
    }
    let (_, told) = next(&mut events).await;
    assert_eq!(told.name, "h2");
    let after = String::from_utf8(told.after).unwrap();
    assert!(after.contains("new") && !after.contains("much"), "{after}");
    bed.stop().await;
}

#[tokio::test]
async fn a_watch_through_references_tells_what_its_caller_may_read() {
    let bed = Bed::start().await;
    let (client, _end) = linked(&bed).await;
    let room = async |site: &str| {
        let body = json!({ "site": site, "team": "web" });
        bed.put("room", "b2", body).await;
    };
    room("paris").await;
    for (rack, team) in [("r1", "web"), ("r2", "data")] {
        bed.put("rack", rack, json!({ "room": "b2", "team": team }))
            .await;
    }
    for (host, rack, team) in [
        ("h1", "r1", "data"),
        ("h2", "r1", "web"),
        ("h3", "r2", "web"),
    ] {
        let body = json!({ "rack": rack, "team": team, "cost": "much" });
        bed.put("host", host, body).await;
    }
    let rules = json!([
        { "kinds": ["host"], "acts": ["read"], "except": ["cost"] },
        { "kinds": ["rack", "room"], "acts": ["read"] },
    ]);
    let webs = bed.holder("ada", rules, Some("web")).await;
    let filter = "host.rack.room.site == 'berlin'";
    let mut events = watch(&client, &webs, hosts(filter, "")).await.unwrap();
    room("berlin").await;
    let (position, entered) = next(&mut events).await;
    // One host is not his, and of another the rack.
    assert_eq!(
        (entered.what(), entered.name.as_str()),
        (What::Entered, "h2")
    );
    assert_eq!(position, format!("{}@h2", entered.revision));
    assert_eq!(entered.before, entered.after);
    let after = String::from_utf8(entered.after).unwrap();
    assert!(after.contains("r1") && !after.contains("much"), "{after}");
    room("rome").await;
    let (_, left) = next(&mut events).await;
    assert_eq!((left.what(), left.name.as_str()), (What::Left, "h2"));

    let rules = json!([{ "kinds": ["host", "rack"], "acts": ["read"] }]);
    let racks = bed.holder("grace", rules, Some("web")).await;
    let refused = watch(&client, &racks, hosts(filter, "")).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(
        refused.message().contains("site of room is not yours"),
        "{refused:?}"
    );
    bed.stop().await;
}
