//! The smallest pingora proxy, to be measured beside gate's own; see `docs/proxy.md`.
//!
//! `spike-pingora LISTEN BACKEND`

use async_trait::async_trait;
use pingora_core::Result;
use pingora_core::server::Server;
use pingora_core::server::configuration::ServerConf;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_proxy::{ProxyHttp, Session, http_proxy_service};

struct Only(String);

#[async_trait]
impl ProxyHttp for Only {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(&*self.0, false, String::new())))
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut pingora_http::RequestHeader,
        _: &mut (),
    ) -> Result<()> {
        if let Some(peer) = session.client_addr().and_then(|addr| addr.as_inet()) {
            request.insert_header("x-forwarded-for", peer.ip().to_string())?;
        }
        request.insert_header("x-forwarded-proto", "http")?;
        if let Some(host) = session.req_header().headers.get("host") {
            request.insert_header("x-forwarded-host", host)?;
        }
        Ok(())
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(backend)) = (arguments.next(), arguments.next()) else {
        panic!("usage: spike-pingora LISTEN BACKEND");
    };
    let conf = ServerConf { threads: 2, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let mut proxy = http_proxy_service(&server.configuration, Only(backend));
    proxy.add_tcp(&listen);
    server.add_service(proxy);
    server.run_forever();
}
