//! Owns the node's UDP socket for links and what QUIC does on it: windows,
//! times, buffers. Never reads what goes over it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TokioRuntime, TransportConfig, VarInt,
};
use socket2::{Domain, Protocol, Socket, Type};

use super::class::Class;
use super::limits::Limits;

/// Kept by the kernel of what comes in while this process is busy, if it lets us.
const SOCKET_BYTES: usize = 4 << 20;
/// Bytes that a stranger may send before they are read.
const STRANGER_WINDOW: u32 = 16 << 10;

/// The socket, and QUIC on it.
///
/// # Errors
/// When the address cannot be had.
pub(super) fn endpoint(
    listen: SocketAddr,
    server: Option<QuicServerConfig>,
    limits: &Limits,
) -> io::Result<Endpoint> {
    let socket = Socket::new(Domain::for_address(listen), Type::DGRAM, Some(Protocol::UDP))?;
    // Less than asked for costs packets under load, and no more.
    let _ = socket.set_recv_buffer_size(SOCKET_BYTES);
    let _ = socket.set_send_buffer_size(SOCKET_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    let config = server.map(|crypto| server_config(crypto, limits));
    Endpoint::new(EndpointConfig::default(), config, socket.into(), Arc::new(TokioRuntime))
}

fn server_config(crypto: QuicServerConfig, limits: &Limits) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(Arc::new(crypto));
    config.transport_config(Arc::new(transport(limits)));
    // A node that moves dials anew.
    config.migration(false);
    // First packets that wait for this node to look at them.
    config.max_incoming(2 * limits.strangers_max);
    config.incoming_buffer_size(STRANGER_WINDOW.into());
    config.incoming_buffer_size_total(STRANGER_WINDOW as u64 * limits.strangers_max as u64);
    config
}

/// As every connection begins: enough for a hello. [`widen`] follows it.
pub(super) fn transport(limits: &Limits) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.max_concurrent_bidi_streams(VarInt::from_u32(Class::ALL.len() as u32));
    transport.max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.stream_receive_window(VarInt::from_u32(limits.stream_window));
    transport.receive_window(VarInt::from_u32(STRANGER_WINDOW.min(limits.stream_window)));
    transport.send_window(window(limits));
    // Longer than a QUIC time can say is for ever.
    transport.max_idle_timeout(IdleTimeout::try_from(limits.idle).ok());
    transport.keep_alive_interval(Some(limits.keep_alive));
    transport.datagram_receive_buffer_size(Some(limits.datagram_bytes));
    transport.datagram_send_buffer_size(limits.datagram_bytes);
    transport
}

/// The peer is a node of this cluster: what it may send grows from a stranger's
/// bit to all windows of its streams, so that a class that is not read takes
/// nothing from another.
pub(super) fn widen(connection: &quinn::Connection, limits: &Limits) {
    let bytes = window(limits).min(u32::MAX.into()) as u32;
    connection.set_receive_window(VarInt::from_u32(bytes));
}

/// All streams of a connection, and a quarter for what is acknowledged late.
fn window(limits: &Limits) -> u64 {
    let streams = Class::ALL.len() as u64 * u64::from(limits.stream_window);
    streams + streams / 4
}
