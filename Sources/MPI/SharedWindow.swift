internal import COpenMPI

/// Memory that all ranks of one node read and write in place.
///
/// ```swift
/// let node = try world.splitByNode()
/// let window = try SharedWindow(byteCount: shardBytes, on: node)
/// unsafe fill(window.unsafeBytes(of: node.rank))
/// try window.synchronize()
/// try node.barrier()
/// unsafe read(window.unsafeBytes(of: (node.rank + 1) % node.size))
/// try window.free()
/// ```
///
/// Each rank has a part of its own size, which begins on a page of its own. The pages of a part are
/// claimed and first touched by its rank, so that they lie in that rank's NUMA domain, and that
/// memory which is not there is an error at creation and no `SIGBUS` later.
///
/// What one rank has written another sees after ``synchronize()`` on the writer, a barrier or
/// message, and ``synchronize()`` on the reader; or after an advance and a wait of
/// ``SharedCounters``. Reads of shared memory are no messages: no ``Traffic`` counts them.
///
/// A window that is dropped without ``free()`` keeps its memory until the process ends, which frees
/// it: to free is collective, so an error on one rank must not wait for the others to do it.
///
/// C: `MPI_Win`, MPI 3.1 §11.2.3.
@safe
public struct SharedWindow: ~Copyable {
  private let handle: WindowHandle
  private let communicator: CommunicatorState
  /// The parts by rank, without a base where they are empty.
  private let parts: [UnsafeMutableRawBufferPointer]

  /// The bytes that the ranks of `node` could share now; a collective call.
  public static func freeBytes(on node: borrowing Communicator) throws(MPIError) -> Int {
    try SharedMemoryRoom.freeBytes(on: node)
  }

  /// The folder of this host whose file system holds the windows of two or more ranks, its size and
  /// what is free of it; nil where it cannot be looked at.
  public static var room: (folder: String, totalBytes: Int, freeBytes: Int)? {
    SharedMemoryRoom.folderBytes.map { (SharedMemoryRoom.folder, $0.total, $0.free) }
  }

  /// What keeps the ranks of `node` from sharing memory at all, however little: a setting of Open
  /// MPI, or a folder that is not there; nil where nothing does.
  ///
  /// A collective call, which tries it.
  public static func obstacle(on node: borrowing Communicator) throws(MPIError) -> MPIError? {
    do {
      try SharedWindow(byteCount: 1, on: node).free()
      return nil
    } catch {
      guard error.errorClass == .sharedMemory else { throw error }
      return error
    }
  }

  /// Allocates memory that the ranks of `node` share.
  ///
  /// A collective call. What the memory holds at first is not defined.
  ///
  /// - Parameters:
  ///   - byteCount: the size of this rank's part; it may be 0, and differ from rank to rank.
  ///   - node: ranks that can share memory, as ``Communicator/splitByNode(key:)`` gives them.
  /// - Throws: ``MPIError`` on all ranks, of class ``MPIError/ErrorClass/sharedMemory`` where the
  ///   node has too little room or Open MPI is set up to share none,
  ///   ``MPIError/ErrorClass/notOneNode`` where the ranks are on several nodes.
  /// - Complexity: every page is touched, some 0.3 to 0.6 s a GiB; four small collectives.
  ///
  /// C: `MPI_Win_allocate_shared` with `alloc_shared_noncontig`, MPI 3.1 §11.2.3;
  /// `MPI_Win_shared_query`; `MPI_Win_lock_all` (§11.5.3).
  public init(byteCount: Int, on node: borrowing Communicator) throws(MPIError) {
    precondition(byteCount >= 0, "a part has 0 or more bytes, not \(byteCount)")
    let byteCounts = try node.allGather(byteCount)
    // Open MPI 4.1 itself finds out on one rank only, while the others wait for it without end.
    try SharedMemoryRoom.check(forParts: byteCounts, on: node)
    let handle: WindowHandle
    do {
      handle = try WindowHandle(partBytes: byteCounts[node.rank], on: node.state.handle)
    } catch {
      throw error.errorClass == .notOneNode ? error : SharedMemoryRoom.refusal(error)
    }
    let parts = try unsafe handle.parts(byteCounts)
    try unsafe SharedMemoryRoom.claim(parts[node.rank], on: node, releasing: handle)
    // One epoch for the whole life: the ranks load and store, and order that by `MPI_Win_sync`.
    try unsafe check(
      MPI_Win_lock_all(CInt(MPI_MODE_NOCHECK), handle.raw), "MPI_Win_lock_all")
    self.handle = handle
    communicator = node.state
    unsafe self.parts = unsafe parts
  }

  /// The bytes that rank `rank` of the node asked for, in this process's address space.
  ///
  /// They begin on a page. They are valid until ``free()``; who writes them when is for the ranks
  /// to agree on. No bytes have no base address.
  @unsafe
  public func unsafeBytes(of rank: Int) -> UnsafeMutableRawBufferPointer { unsafe parts[rank] }

  /// Orders this rank's reads and writes of the window before the call before those after it.
  ///
  /// C: `MPI_Win_sync`, MPI 3.1 §11.5.4.
  public func synchronize() throws(MPIError) {
    try unsafe check(MPI_Win_sync(handle.raw), "MPI_Win_sync")
  }

  /// Frees the memory when all ranks of the node have called it.
  ///
  /// A collective call; ranks that come early sleep.
  ///
  /// C: `MPI_Win_unlock_all` (MPI 3.1 §11.5.3), `MPI_Win_free` (§11.2.5).
  public consuming func free() throws(MPIError) {
    try unsafe check(MPI_Win_unlock_all(handle.raw), "MPI_Win_unlock_all")
    try Communicator(communicator).barrier()
    try handle.free()
  }
}

extension WindowHandle {
  /// A window with `partBytes` bytes for this rank and what it takes to begin them on a page.
  fileprivate init(partBytes: Int, on communicator: CommunicatorHandle) throws(MPIError) {
    var info: MPI_Info?
    try unsafe check(MPI_Info_create(&info), "MPI_Info_create")
    defer { _ = unsafe MPI_Info_free(&info) }
    // Parts that need not follow each other, so that each can have pages of its own.
    try unsafe check(MPI_Info_set(info, "alloc_shared_noncontig", "true"), "MPI_Info_set")
    var base: UnsafeMutableRawPointer?
    var window: MPI_Win?
    try unsafe check(
      MPI_Win_allocate_shared(
        SharedMemoryRoom.bytesToAsk(forPart: partBytes), 1, info, communicator.raw, &base, &window),
      "MPI_Win_allocate_shared")
    try unsafe check(
      MPI_Win_set_errhandler(window, copenmpi_errors_return()), "MPI_Win_set_errhandler")
    unsafe self.init(window)
  }

  /// Where the parts of all ranks are.
  ///
  /// Open MPI 4.1 aligns a part to 8 bytes, behind its own state. The offset in the page is the
  /// same in every process, since each maps whole pages: all find the same beginning.
  fileprivate func parts(_ byteCounts: [Int]) throws(MPIError) -> [UnsafeMutableRawBufferPointer] {
    var parts = unsafe [UnsafeMutableRawBufferPointer]()
    for (rank, byteCount) in byteCounts.enumerated() {
      var (size, unit) = (MPI_Aint(0), CInt(0))
      var base: UnsafeMutableRawPointer?
      try unsafe check(
        MPI_Win_shared_query(raw, CInt(rank), &size, &unit, &base), "MPI_Win_shared_query")
      let start =
        unsafe byteCount == 0
        ? nil : base?.alignedUp(toMultipleOf: SharedMemoryRoom.pageBytes)
      unsafe parts.append(UnsafeMutableRawBufferPointer(start: start, count: byteCount))
    }
    return unsafe parts
  }

  /// Frees the window, collectively.
  func free() throws(MPIError) {
    var window = unsafe raw
    try unsafe check(MPI_Win_free(&window), "MPI_Win_free")
  }
}
