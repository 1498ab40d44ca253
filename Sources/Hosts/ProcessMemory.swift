import Glibc

/// What the operating system says about the memory of this process.
package enum ProcessMemory {
  /// The most memory that this program has had resident so far, or since ``resetPeak()``.
  ///
  /// `getrusage` also counts what the process had before it became this program, that of a parent
  /// with gigabytes; it answers only where the system does not say more.
  package static var peakResidentBytes: Int {
    let ofProgram = statusBytes("VmHWM")
    if ofProgram > 0 { return ofProgram }
    var usage = rusage()
    unsafe getrusage(RUSAGE_SELF.rawValue, &usage)
    // Linux counts in KiB.
    return Int(usage.ru_maxrss) << 10
  }

  /// What is resident now.
  package static var residentBytes: Int { statusBytes("VmRSS") }

  /// Starts the peak anew.
  ///
  /// - Returns: false where the system refuses.
  package static func resetPeak() -> Bool {
    let descriptor = unsafe open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return false }
    defer { close(descriptor) }
    return unsafe Glibc.write(descriptor, "5", 1) == 1
  }

  private static func statusBytes(_ name: String) -> Int {
    let line = text(ofFile: "/proc/self/status").split(separator: "\n").first {
      $0.hasPrefix("\(name):")
    }
    return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0)
      << 10
  }
}
