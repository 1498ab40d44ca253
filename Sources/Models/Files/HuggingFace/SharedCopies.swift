public import MPI
import Tensors

/// Matrices that a folder has in another form than products read them, once for all ranks of a
/// host: each rank makes some of them, in memory that all map.
@safe
final class SharedCopies: @unchecked Sendable {
  /// Whose part of the window a matrix is in, and where.
  private struct Place {
    let rank: Int
    let bytes: Range<Int>
  }

  private let window: SharedWindow
  private let places: [String: Place]

  private init(_ window: consuming SharedWindow, _ places: [String: Place]) {
    self.window = window
    self.places = places
  }

  /// Makes all copies, called by all ranks of a host together.
  ///
  /// - Returns: nil where nothing is copied or shared, there is too little shared memory, or a
  ///   matrix is not as it should be: who reads it then says so.
  static func made(
    of folder: HuggingFaceFolder, on node: borrowing Communicator
  ) throws(MPIError) -> SharedCopies? {
    let copied = folder.copied
    if node.size == 1 || copied.isEmpty { return nil }
    var ends = Array(repeating: 0, count: node.size)
    var places: [String: Place] = [:]
    for (name, byteCount) in copied {
      let rank = ends.indices.min { ends[$0] < ends[$1] } ?? 0
      places[name] = Place(rank: rank, bytes: ends[rank]..<ends[rank] + byteCount)
      ends[rank] += (byteCount + 63) / 64 * 64
    }
    let window: SharedWindow
    do {
      window = try SharedWindow(byteCount: ends[node.rank], on: node)
    } catch {
      guard error.errorClass == .sharedMemory else { throw error }
      return nil
    }
    var isWhole = true
    for (name, place) in places where place.rank == node.rank && isWhole {
      guard let tensor = try? folder.tensor(name), tensor.byteCount == place.bytes.count else {
        isWhole = false
        continue
      }
      let target = unsafe UnsafeMutableRawBufferPointer(
        rebasing: window.unsafeBytes(of: place.rank)[place.bytes])
      unsafe tensor.memory.bytes.withUnsafeBytes { unsafe target.copyMemory(from: $0) }
    }
    try window.synchronize()
    // Nobody knows before all have written.
    let isReady = try node.allReduce(isWhole ? 1 : 0, with: .min) == 1
    try window.synchronize()
    if isReady { return SharedCopies(window, places) }
    try window.free()
    return nil
  }

  /// The bytes of a matrix; nil of one that is not copied.
  func bytes(of name: String) -> SharedBytes? {
    guard let place = places[name], !place.bytes.isEmpty,
      let base = unsafe window.unsafeBytes(of: place.rank).baseAddress
    else { return nil }
    return unsafe SharedBytes(
      owner: self, base: UnsafeRawPointer(base + place.bytes.lowerBound),
      byteCount: place.bytes.count)
  }
}

extension ModelFile {
  /// The same model, of which ranks of a host share matrices that have to be copied; called by all
  /// ranks together.
  ///
  /// Where there is too little shared memory for them, each has copies of its own.
  public func sharingCopies(on world: borrowing Communicator) throws(MPIError) -> ModelFile {
    let node = try world.splitByNode()
    guard case .folder(var folder) = source else { return self }
    folder.sharedCopies = try SharedCopies.made(of: folder, on: node)
    return ModelFile(folder)
  }
}
