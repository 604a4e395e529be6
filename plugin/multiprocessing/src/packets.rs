//! A connection between two processes of one machine: packets, in order, with descriptors.

use crate::wire::FRAME_LIMIT;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, getsockopt, sendmsg, socketpair, sockopt,
};
use std::io::{self, IoSlice};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// The most descriptors that one packet carries; Linux's own bound.
pub const DESCRIPTOR_LIMIT: usize = 253;

/// Words of control space: a header of at most three words, and the descriptors.
const CONTROL_SPACE: usize = 3 + (DESCRIPTOR_LIMIT * size_of::<RawFd>()).div_ceil(8);

/// One end of a connection. Packets keep their bounds; the end of the other side is the end of the packets.
#[derive(Debug)]
pub struct Packets {
    socket: OwnedFd,
}

/// A packet as it came: so many bytes of the buffer, and the descriptors.
#[derive(Debug)]
pub struct Received {
    /// How many bytes of the buffer are the packet.
    pub length: usize,
    /// The descriptors that came with it; they are closed with this value.
    pub descriptors: Vec<OwnedFd>,
}

/// Space for receiving, kept from packet to packet.
#[derive(Debug)]
pub struct Buffer {
    /// The bytes of the last packet, from the start.
    pub bytes: Vec<u8>,
    control: Vec<u64>,
}

impl Buffer {
    /// Space for the longest packet.
    pub fn new() -> Buffer {
        // A byte more than the longest frame, so that a longer packet shows as such.
        Buffer { bytes: vec![0; FRAME_LIMIT + 1], control: vec![0; CONTROL_SPACE] }
    }
}

impl Default for Buffer {
    fn default() -> Buffer {
        Buffer::new()
    }
}

impl Packets {
    /// Two ends, each close-on-exec.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn pair() -> io::Result<(Packets, Packets)> {
        let (one, other) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
        Ok((Packets { socket: one }, Packets { socket: other }))
    }

    /// Takes a descriptor that is such an end.
    ///
    /// # Errors
    /// It is something else.
    pub fn from_descriptor(socket: OwnedFd) -> io::Result<Packets> {
        if getsockopt(&socket, sockopt::SockType)? != SockType::SeqPacket {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a packet socket"));
        }
        Ok(Packets { socket })
    }

    /// Sends `head` and `tail` as one packet. `wait` says whether to wait until there is room for it.
    ///
    /// # Errors
    /// `WouldBlock` without room; `BrokenPipe` without another side. A signal is never raised.
    pub fn send(&self, head: &[u8], tail: &[u8], descriptors: &[BorrowedFd<'_>], wait: bool) -> io::Result<()> {
        let parts = [IoSlice::new(head), IoSlice::new(tail)];
        let raw: Vec<RawFd> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let control = if raw.is_empty() { &[][..] } else { &rights[..] };
        let mut flags = MsgFlags::MSG_NOSIGNAL;
        flags.set(MsgFlags::MSG_DONTWAIT, !wait);
        loop {
            match sendmsg::<()>(self.socket.as_raw_fd(), &parts, control, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives one packet; `None` when the other side has ended. `wait` says whether to wait for one.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; `InvalidData` for a packet, or a set of descriptors, that is too large.
    pub fn receive(&self, buffer: &mut Buffer, wait: bool) -> io::Result<Option<Received>> {
        let mut flags = MsgFlags::MSG_CMSG_CLOEXEC;
        flags.set(MsgFlags::MSG_DONTWAIT, !wait);
        let mut packet = loop {
            match receive(self.socket.as_fd(), buffer, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Said once, by an end that was closed before it had read all; what it had sent is still to be received.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                other => break other?,
            }
        };
        if packet.cut {
            packet.descriptors.clear();
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a packet beyond the limits, or more descriptors than the process may have",
            ));
        }
        // No frame is empty, so an empty packet says the same as the end.
        Ok((packet.length > 0).then_some(Received { length: packet.length, descriptors: packet.descriptors }))
    }
}

/// What `recvmsg` brought.
struct Packet {
    length: usize,
    descriptors: Vec<OwnedFd>,
    /// Whether bytes or descriptors were lost.
    cut: bool,
}

/// One `recvmsg`. Descriptors that came with a cut packet are owned too, so that they are closed.
fn receive(socket: BorrowedFd<'_>, buffer: &mut Buffer, flags: MsgFlags) -> io::Result<Packet> {
    let mut part = libc::iovec { iov_base: buffer.bytes.as_mut_ptr().cast(), iov_len: buffer.bytes.len() };
    // SAFETY: all zero is a valid `msghdr`: no address, no parts, no control space.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = buffer.control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&buffer.control[..]);
    // SAFETY: the header points to the two parts of `buffer`, with their true sizes, and both outlive the call.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, flags.bits()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    let mut descriptors = Vec::new();
    // SAFETY: the kernel has filled the control space and set its length, within which these macros stay; it is aligned for
    // `cmsghdr`, being a vector of words. Each number under SCM_RIGHTS is a descriptor that the kernel has just made for us,
    // which nobody else knows of.
    unsafe {
        let mut control = libc::CMSG_FIRSTHDR(&raw const header);
        while let Some(found) = control.as_ref() {
            if found.cmsg_level == libc::SOL_SOCKET && found.cmsg_type == libc::SCM_RIGHTS {
                let data = libc::CMSG_DATA(control).cast::<RawFd>();
                let count = (found.cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                descriptors.extend((0..count).map(|i| OwnedFd::from_raw_fd(data.add(i).read_unaligned())));
            }
            control = libc::CMSG_NXTHDR(&raw const header, control);
        }
    }
    Ok(Packet { length, descriptors, cut: header.msg_flags & (libc::MSG_TRUNC | libc::MSG_CTRUNC) != 0 })
}

impl AsFd for Packets {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl From<Packets> for OwnedFd {
    fn from(connection: Packets) -> OwnedFd {
        connection.socket
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read;

    #[test]
    fn packets_keep_their_bounds_and_bring_descriptors() {
        let (one, other) = Packets::pair().expect("a pair");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        one.send(b"he", b"ad", &[writer.as_fd()], true).expect("room");
        one.send(b"next", b"", &[], false).expect("room");
        drop(writer);
        let mut buffer = Buffer::new();
        let first = other.receive(&mut buffer, true).expect("a packet").expect("not the end");
        assert_eq!(&buffer.bytes[..first.length], b"head");
        let [writer] = <[OwnedFd; 1]>::try_from(first.descriptors).expect("one descriptor");
        io::Write::write_all(&mut File::from(writer), b"through").expect("the pipe's own end");
        let mut text = String::new();
        reader.read_to_string(&mut text).expect("text");
        assert_eq!(text, "through");
        let second = other.receive(&mut buffer, false).expect("a packet").expect("not the end");
        assert_eq!(&buffer.bytes[..second.length], b"next");
        assert_eq!(other.receive(&mut buffer, false).expect_err("none left").kind(), io::ErrorKind::WouldBlock);
        drop(one);
        assert!(other.receive(&mut buffer, true).expect("the end").is_none());
        assert_eq!(other.send(b"x", b"", &[], true).expect_err("nobody there").kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn what_was_sent_before_the_end_comes_even_if_not_all_was_read() {
        let (one, other) = Packets::pair().expect("a pair");
        one.send(b"never read", b"", &[], true).expect("room");
        other.send(b"answer", b"", &[], true).expect("room");
        drop(other);
        let mut buffer = Buffer::new();
        assert_eq!(one.receive(&mut buffer, true).expect("a packet").expect("not the end").length, 6);
        assert!(one.receive(&mut buffer, true).expect("the end").is_none());
    }

    #[test]
    fn a_full_connection_says_so() {
        let (one, _other) = Packets::pair().expect("a pair");
        let packet = vec![0; 60_000];
        let full = (0..1000).find_map(|_| one.send(&packet, b"", &[], false).err()).expect("bounded");
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_packet_beyond_the_limit_is_refused() {
        let (one, other) = Packets::pair().expect("a pair");
        one.send(&vec![0; FRAME_LIMIT + 2], b"", &[], true).expect("room");
        one.send(b"good", b"", &[], true).expect("room");
        let mut buffer = Buffer::new();
        assert_eq!(other.receive(&mut buffer, true).expect_err("too long").kind(), io::ErrorKind::InvalidData);
        assert_eq!(other.receive(&mut buffer, true).expect("a packet").expect("not the end").length, 4);
    }

    #[test]
    fn something_else_is_no_connection() {
        assert!(Packets::from_descriptor(tempfile::tempfile().expect("a file").into()).is_err());
        let (stream, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(Packets::from_descriptor(stream.into()).is_err());
    }
}
