mod protocol_client;
mod store_conformance;
