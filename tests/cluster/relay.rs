//! A TCP relay that can be down: connections are refused then, and those that were open end.

use std::net::SocketAddr;
use std::sync::mpsc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::cluster::{Cluster, runtime};

pub(crate) struct Relay {
    down: watch::Sender<bool>,
    address: SocketAddr,
}

impl Relay {
    pub(crate) fn new(cluster: &'static Cluster, upstream: String) -> Self {
        let (down, is_down) = watch::channel(false);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            cluster.move_in();
            runtime().block_on(run(upstream, is_down, tell));
        });
        Self { down, address: told.recv().unwrap() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn is_down(&self, down: bool) {
        self.down.send_replace(down);
    }
}

async fn run(upstream: String, mut down: watch::Receiver<bool>, tell: mpsc::Sender<SocketAddr>) {
    let mut listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tell.send(address).unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                tokio::spawn(relay(accepted.unwrap().0, upstream.clone(), down.clone()));
            }
            changed = down.changed() => {
                if changed.is_err() {
                    return;
                }
                if *down.borrow_and_update() {
                    drop(listener);
                    if down.wait_for(|down| !*down).await.is_err() {
                        return;
                    }
                    listener = TcpListener::bind(address).await.unwrap();
                }
            }
        }
    }
}

async fn relay(mut one: TcpStream, upstream: String, mut down: watch::Receiver<bool>) {
    let Ok(mut other) = TcpStream::connect(upstream).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut one, &mut other) => {}
        _ = down.wait_for(|down| *down) => {}
    }
}
