//! The trusted front (CloudFront) before the API, which names the client's address.
//!
//! Behind a front, API Gateway sees only the front's address. The front proves itself by a secret in
//! a header. The configuration holds only the secret's hash.

use std::net::IpAddr;

use ring::digest::{SHA256, digest};
use subtle::ConstantTimeEq;

use crate::http::Request;
use crate::{Error, Setup};

/// The environment variable: SHA-256 hashes in hexadecimal digits, separated by commas. It has two
/// during a rotation of the secret, and none without a trusted front.
const VARIABLE: &str = "TRUSTED_FRONT_SHA256";
/// The header with the front's secret.
const SECRET_HEADER: &str = "x-origin-verify";
/// The address and port of the front's client, as CloudFront writes them (IPv6 without brackets).
const ADDRESS_HEADER: &str = "cloudfront-viewer-address";

/// The trusted fronts, by the hashes of their secrets.
#[derive(Clone, Debug, Default)]
pub struct TrustedFront(Vec<[u8; 32]>);

impl TrustedFront {
    /// Reads the function's configuration.
    pub fn wire(setup: &Setup) -> Result<Self, Error> {
        Self::parse(&setup.env_or_none(VARIABLE).unwrap_or_default())
    }

    /// Reads a list of hashes.
    ///
    /// # Errors
    ///
    /// When one is not 64 hexadecimal digits.
    pub fn parse(hashes: &str) -> Result<Self, Error> {
        let hashes = hashes.split(',').filter(|hash| !hash.is_empty());
        let hashes: Option<Vec<_>> = hashes.map(bytes).collect();
        hashes.map(Self).ok_or_else(|| {
            format!("{VARIABLE} is not a list of SHA-256 hashes; separate 64 hexadecimal digits each by commas")
                .into()
        })
    }

    /// The request with its client's address, if a trusted front names it.
    pub fn locate(&self, request: Request) -> Request {
        let secret = request
            .header(SECRET_HEADER)
            .filter(|text| !text.is_empty());
        let hash = secret.map(|secret| digest(&SHA256, secret.as_bytes()));
        let is_known = |known: &[u8; 32]| {
            hash.is_some_and(|hash| known.as_slice().ct_eq(hash.as_ref()).into())
        };
        if !self.0.iter().any(is_known) {
            return request;
        }
        match request.header(ADDRESS_HEADER).and_then(address) {
            Some(address) => request.with_source_address(address.to_string()),
            None => {
                tracing::warn!(
                    "the trusted front sent no valid CloudFront-Viewer-Address; make it forward that header"
                );
                request
            }
        }
    }
}

fn bytes(hex: &str) -> Option<[u8; 32]> {
    if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut bytes = [0; 32];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

fn address(with_port: &str) -> Option<IpAddr> {
    let (address, port) = with_port.rsplit_once(':')?;
    port.parse::<u16>().ok()?;
    let address = address.strip_prefix('[').unwrap_or(address);
    address.strip_suffix(']').unwrap_or(address).parse().ok()
}
