package import MPI
import Reporting

/// Ends the job with a sentence where ranks do not come together: over a network that leads nowhere
/// they would wait for each other without end.
package func requireMeeting(of world: borrowing Communicator) throws {
  let patience = Duration.seconds(60)
  do {
    try world.barrier(deadline: .now + patience)
  } catch {
    guard error.errorClass == .timedOut else { throw error }
    printError(
      "gyre: rank \(world.rank) on \(MPIEnvironment.processorName) has not heard of all others "
        + "within "
        + "\(formatSeconds(patience.inSeconds)): Open MPI may have taken a network interface that "
        + "leads "
        + "nowhere; name the network that all hosts share, as in mpirun --mca btl_tcp_if_include "
        + "10.0.0.0/24 --mca oob_tcp_if_include 10.0.0.0/24.")
    world.abort()
  }
}
