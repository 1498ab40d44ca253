internal import Glibc

/// Whether a node has the memory that its ranks want to share, asked before it can do harm.
///
/// Open MPI backs shared windows by a file, usually in `/dev/shm`, which is often small in
/// containers. It makes the file sparse: memory that is not there becomes a `SIGBUS` of whoever
/// touches it first.
enum SharedMemoryRoom {
  static let pageBytes = sysconf(CInt(_SC_PAGESIZE))

  /// `MADV_POPULATE_WRITE` of Linux 5.14, which the headers of glibc before 2.35 do not have.
  private static let populateForWriting: CInt = 23

  /// What to ask MPI for, so that `byteCount` bytes can begin on a page and have their last page
  /// alone.
  static func bytesToAsk(forPart byteCount: Int) -> Int {
    byteCount == 0 ? 0 : (byteCount + pageBytes - 1) / pageBytes * pageBytes + pageBytes
  }

  /// The bytes that the ranks of a node can share, as the one that sees least of them says.
  static func freeBytes(on node: borrowing Communicator) throws(MPIError) -> Int {
    // What Open MPI wants more than it needs, and keeps in the file, is left out.
    let free = Double(try node.allReduce(freeBytes(ranks: node.size), with: .min))
    return Int(max(0, min(free, 0x1p62) - Double(1 << 20)) / 1.05)
  }

  /// Throws on all ranks where the file system has too little room for the parts of all.
  static func check(
    forParts byteCounts: [Int], on node: borrowing Communicator
  ) throws(MPIError) {
    let free = try node.allReduce(freeBytes(ranks: node.size), with: .min)
    if free < 0 {
      throw MPIError(
        .sharedMemory, function: "MPI_Win_allocate_shared",
        "the ranks of \(MPIEnvironment.processorName) cannot create a file in \(folder), in which "
          + "Open MPI would share their memory: set osc_sm_backing_directory to another local "
          + "folder, or leave it out")
    }
    // In floating point no sum of sizes overflows. Open MPI wants 5 % more than it needs, and keeps
    // a little state of its own in the file.
    let needed = byteCounts.reduce(0) { $0 + Double($1) + Double(2 * pageBytes) }
    if needed * 1.05 + Double(1 << 20) <= Double(free) { return }
    throw noRoom(
      "\(sentence(byteCounts)), and \(place(ranks: node.size)) has \(free >> 20) MiB free",
      ranks: node.size)
  }

  /// Touches every page of this rank's part; where one is missing on any rank, frees the window and
  /// throws on all.
  ///
  /// The room may have been there a moment ago: another job, or another window whose pages nobody
  /// had touched yet.
  static func claim(
    _ part: UnsafeMutableRawBufferPointer, on node: borrowing Communicator,
    releasing window: WindowHandle
  ) throws(MPIError) {
    let failures = try unsafe node.allGather(populate(part))
    guard let rank = failures.firstIndex(where: { $0 != 0 }) else { return }
    try window.free()
    // The kernel's word for what would have been a SIGBUS is EFAULT, "bad address".
    let reason =
      failures[rank] == EFAULT
      ? "which others have filled meanwhile"
      : unsafe String(cString: strerror(CInt(failures[rank])))
    throw noRoom(
      "rank \(rank) of the node could not claim its part of \(place(ranks: node.size)), \(reason)",
      ranks: node.size)
  }

  /// Touches every page; answers 0, or the `errno` where a page cannot be had.
  private static func populate(_ part: UnsafeMutableRawBufferPointer) -> Int {
    guard let start = part.baseAddress else { return 0 }
    while unsafe madvise(start, part.count, populateForWriting) != 0 {
      if errno == EINTR { continue }
      // Linux before 5.14 does not know the advice; there the look at the free room has to do.
      guard errno == EINVAL else { return Int(errno) }
      for offset in stride(from: 0, to: part.count, by: pageBytes) {
        unsafe part.storeBytes(of: 0, toByteOffset: offset, as: UInt8.self)
      }
      return 0
    }
    return 0
  }

  // MARK: Where the memory comes from

  /// The folder in which Open MPI creates the file: its own rule, unless it was told another.
  ///
  /// `mpirun --mca` arrives as this variable too; `ompi_info` has the rule as
  /// `osc_sm_backing_directory`.
  static var folder: String {
    if let told = variable("OMPI_MCA_osc_sm_backing_directory") { return told }
    return unsafe access("/dev/shm", W_OK) == 0 ? "/dev/shm" : variable("TMPDIR") ?? "/tmp"
  }

  /// One rank alone gets memory of its own, without a file.
  private static func place(ranks: Int) -> String { ranks == 1 ? "this machine" : folder }

  /// The bytes that can be had at most; below 0 where no file can be made.
  private static func freeBytes(ranks: Int) -> Int {
    if ranks == 1 { return sysconf(CInt(_SC_PHYS_PAGES)) * pageBytes }
    if unsafe access(folder, W_OK) != 0 { return -1 }
    // What cannot be looked at is for MPI to complain about.
    return folderBytes?.free ?? .max
  }

  /// The size of the file system in which the folder is, and what is free of it.
  static var folderBytes: (total: Int, free: Int)? {
    var status = statvfs()
    guard unsafe statvfs(folder, &status) == 0 else { return nil }
    let unit = Int(status.f_frsize)
    return (Int(status.f_blocks) * unit, Int(status.f_bavail) * unit)
  }

  private static func variable(_ name: String) -> String? {
    unsafe getenv(name).map { unsafe String(cString: $0) }
  }

  // MARK: What is said

  /// What it means that MPI makes no window, with the setting that is in the way.
  static func refusal(_ error: MPIError) -> MPIError {
    let osc = MPIEnvironment.parameters(["osc"])["osc"] ?? ""
    return MPIError(
      .sharedMemory, function: "MPI_Win_allocate_shared",
      osc.isEmpty
        ? "Open MPI shares no memory between ranks (\(error.text))"
        : "Open MPI shares no memory between ranks with osc set to \(osc), which leaves its "
          + "component sm out: leave osc unset (unset OMPI_MCA_osc, mpirun without --mca osc, "
          + "openmpi-mca-params.conf)"
    )
  }

  private static func noRoom(_ sentence: String, ranks: Int) -> MPIError {
    let remedy =
      ranks == 1
      ? "share less, or run on a larger machine"
      : "enlarge it (mount -o remount,size=…, docker run --shm-size=…), share less, or name "
        + "another local folder: mpirun --mca osc_sm_backing_directory …"
    return MPIError(
      .sharedMemory, function: "MPI_Win_allocate_shared",
      "\(sentence): \(remedy)")
  }

  private static func sentence(_ byteCounts: [Int]) -> String {
    let mebibytes = byteCounts.reduce(0) { $0 + Double($1) } / Double(1 << 20)
    let ranks = byteCounts.count == 1 ? "1 rank" : "\(byteCounts.count) ranks"
    return "the memory shared by \(ranks) on \(MPIEnvironment.processorName) needs "
      + "\(Int(mebibytes.rounded(.up))) MiB"
  }
}
