import Glibc

/// The IPv4 addresses of this host's interfaces.
func networkInterfaces() -> [NetworkInterface] {
  var first: UnsafeMutablePointer<ifaddrs>?
  guard unsafe getifaddrs(&first) == 0 else { return [] }
  defer { unsafe freeifaddrs(first) }
  var result: [NetworkInterface] = []
  var next = unsafe first
  while let current = unsafe next {
    defer { unsafe next = current.pointee.ifa_next }
    guard let address = unsafe current.pointee.ifa_addr,
      unsafe address.pointee.sa_family == sa_family_t(AF_INET),
      let mask = unsafe current.pointee.ifa_netmask
    else { continue }
    let name = unsafe String(cString: current.pointee.ifa_name)
    let flags = unsafe current.pointee.ifa_flags
    let speed = Int(line(ofFile: "/sys/class/net/\(name)/speed"))
    result.append(
      NetworkInterface(
        name: name, address: dotted(unsafe number(of: address)),
        prefixLength: unsafe number(of: mask).nonzeroBitCount,
        isUp: flags & UInt32(IFF_UP) != 0 && flags & UInt32(IFF_RUNNING) != 0,
        isLoopback: flags & UInt32(IFF_LOOPBACK) != 0,
        megabitsPerSecond: speed.flatMap { $0 > 0 ? $0 : nil }))
  }
  return result.sorted { ($0.name, $0.address) < ($1.name, $1.address) }
}

/// The 32 bits of an IPv4 address.
private func number(of address: UnsafeMutablePointer<sockaddr>) -> UInt32 {
  unsafe address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
    unsafe UInt32(bigEndian: $0.pointee.sin_addr.s_addr)
  }
}

private func dotted(_ address: UInt32) -> String {
  [24, 16, 8, 0].map { "\(address >> UInt32($0) & 0xFF)" }.joined(separator: ".")
}

/// Whether a name has an address.
func hasAddress(_ name: String) -> Bool {
  var result: UnsafeMutablePointer<addrinfo>?
  defer { if unsafe result != nil { unsafe freeaddrinfo(result) } }
  return unsafe getaddrinfo(name, nil, nil, &result) == 0
}
