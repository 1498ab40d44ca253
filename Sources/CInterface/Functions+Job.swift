import Attention
import BuildStamp
import CGyre
import Glibc
import Hosts
import Jobs
import MPI
import Reporting
import Sharding

/// Joins the job.
@c @implementation
public func gyre_init(_ threads: Int32) -> Int32 {
  Library.call {
    guard unsafe Library.door == nil else { return }
    let missing = InstructionSet.required.missingFeatures(cpuinfo: text(ofFile: "/proc/cpuinfo"))
    guard missing.isEmpty else {
      throw UserError(
        "this processor lacks \(missing.joined(separator: ", ")), which all of gyre is compiled "
          + "for (\(InstructionSet.required)); run it on a newer one.")
    }
    let joined = try JoinedWorld()
    let count: Int
    do {
      count = try threadCount(asked: threads, joined)
    } catch {
      // MPI is not left without an end.
      try? joined.leave(within: .seconds(2), or: "this rank cannot join the job")
      throw error
    }
    Library.open(try Door(joined: joined, team: ThreadTeam(threads: count)))
  }
}

/// Has all ranks meet, and gives this one's threads.
private func threadCount(asked: Int32, _ joined: JoinedWorld) throws -> Int {
  let world = joined.communicator.shared()
  try requireMeeting(of: world)
  // Whoever finalizes MPI looks for the names, and only this module would put them back.
  if joined.isInitializer { SegmentNames.remove() }
  try world.together { try requireAllRanks(seen: world.size) }
  try world.meet(
    for: "calls gyre.init",
    complaint: (0...1024).contains(asked)
      ? nil : "threads is \(asked); give a number from 1 to 1024, or none for all cores.")
  return asked > 0 ? Int(asked) : try world.threadShare()
}

/// This rank's number.
@c @implementation
public func gyre_rank() -> Int32 {
  Library.look({ $0.joined.communicator.rank }, otherwise: -1)
}

/// The number of ranks.
@c @implementation
public func gyre_size() -> Int32 {
  Library.look({ $0.joined.communicator.size }, otherwise: -1)
}

/// The threads of this rank.
@c @implementation
public func gyre_threads() -> Int32 { Library.look({ $0.team.threads }, otherwise: -1) }

/// Leaves the job.
@c @implementation
public func gyre_finalize(_ failed: Int32) -> Int32 {
  Library.call {
    guard let door = unsafe Library.door else { return }
    if !MPIEnvironment.isRunning {
      // Somebody else has finalized MPI: there is nobody to give anything back to.
      Library.open(nil)
      return
    }
    if failed == 0 {
      try door.joined.communicator.meet(for: "leaves the job")
      try door.release()
    }
    Library.open(nil)
    try door.joined.leave(
      within: failed == 0 ? nil : .seconds(2), or: "this rank has failed")
  }
}

/// Ends all ranks.
@c @implementation
public func gyre_abort(_ code: Int32, _ sentence: UnsafePointer<CChar>?) {
  let text = unsafe sentence.map { unsafe String(cString: $0) } ?? "the program aborts"
  JoinedWorld.end(text, code: Int(code))
}

/// The last error.
@c @implementation
public func gyre_error() -> UnsafePointer<CChar>? { unsafe Library.error }

/// Whether all ranks know of it.
@c @implementation
public func gyre_error_is_shared() -> Int32 { unsafe Library.isShared ? 1 : 0 }

@safe private enum Version {
  nonisolated(unsafe) static let text: UnsafeMutablePointer<CChar>? = {
    let commit = BuildStamp.commit.map { " (\(shortCommit($0)))" } ?? ""
    return unsafe strdup(BuildStamp.version + commit)
  }()
}

/// The version.
@c @implementation
public func gyre_version() -> UnsafePointer<CChar>? { unsafe UnsafePointer(Version.text) }

/// Has all ranks agree.
@c @implementation
public func gyre_agree(
  _ operation: UnsafePointer<CChar>?, _ complaint: UnsafePointer<CChar>?
) -> Int32 {
  Library.callInJob { door in
    try door.joined.communicator.meet(
      for: unsafe operation.map { unsafe String(cString: $0) } ?? "agrees",
      complaint: unsafe complaint.map { unsafe String(cString: $0) })
  }
}

/// The positions of a rank's rows.
@c @implementation
public func gyre_positions(
  _ tokens: Int64, _ layout: UnsafePointer<CChar>?, _ reproducible: Int32, _ rank: Int32,
  _ positions: UnsafeMutablePointer<Int64>?, _ count: UnsafeMutablePointer<Int64>?
) -> Int32 {
  Library.callInJob { door in
    let ranks = door.joined.communicator.size
    guard tokens >= 0, tokens < 1 << 48, (0..<ranks).contains(Int(rank)),
      let count = unsafe count
    else {
      throw UserError(
        "there is no rank \(rank) of \(ranks), or no sequence of \(tokens) tokens.")
    }
    let accumulation = reproducible == 0 ? Accumulation.fast : .reproducible
    let sharding = Sharding(
      try unsafe AttentionRequest.layout(layout), tokens: Int(tokens), ranks: ranks,
      granularity: accumulation.granularity)
    let held = sharding.tokenCount(of: Int(rank))
    guard let positions = unsafe positions else {
      unsafe count.pointee = Int64(held)
      return
    }
    guard unsafe count.pointee >= held else {
      throw UserError("there is no room for \(held) positions.")
    }
    var index = 0
    for position in sharding.shards[Int(rank)].joined() {
      unsafe positions[index] = Int64(position)
      index += 1
    }
    unsafe count.pointee = Int64(held)
  }
}

/// Gives back what is kept.
@c @implementation
public func gyre_release() -> Int32 {
  Library.callInJob { door in
    try door.joined.communicator.meet(for: "gives back what is kept")
    try door.release()
  }
}

/// How often ranks were connected.
@c @implementation
public func gyre_connections() -> Int64 {
  Int64(Library.look({ $0.connectionCount }, otherwise: -1))
}
