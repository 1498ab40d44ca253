import Glibc

/// What the operating system says about memory.
enum ProcessMemory {
  /// The most memory that this process has had resident so far.
  static var peakResidentBytes: Int {
    var usage = rusage()
    unsafe getrusage(RUSAGE_SELF.rawValue, &usage)
    // Linux counts in KiB.
    return Int(usage.ru_maxrss) << 10
  }

  /// The memory of this host.
  static var physicalBytes: Int {
    sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
  }
}
