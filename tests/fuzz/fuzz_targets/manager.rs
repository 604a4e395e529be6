//! What managers and their clients say to each other: whatever came, a message that decodes is one that encodes to the same
//! again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use multiprocessing::manager::protocol::{Request, Response, decode, encode};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = decode::<Request>(bytes) {
        let again = encode(&request);
        // Numbers may come with more bytes than they need.
        assert!(again.len() <= bytes.len());
        assert_eq!(decode::<Request>(&again).expect("our own message"), request);
    }
    if let Ok(response) = decode::<Response>(bytes) {
        let again = encode(&response);
        assert!(again.len() <= bytes.len());
        assert_eq!(decode::<Response>(&again).expect("our own message"), response);
    }
});
