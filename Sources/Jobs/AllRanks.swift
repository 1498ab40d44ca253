import Glibc
import MPI

extension AnnouncedRanks {
  /// What is wrong where MPI sees fewer ranks than the launcher has started; nil where it sees them
  /// all.
  ///
  /// - Parameter seen: how many MPI sees.
  package func complaint(seen: Int) -> (sentence: String, remedy: String)? {
    guard size > seen else { return nil }
    let sentence =
      "\(launcher) has started \(isExact ? "" : "at least ")\(size) ranks (\(variable)), and Open "
      + "MPI, which gyre is linked with, sees "
      + "\(seen): each would do the whole job"
    let mpirun =
      "Open MPI's mpirun (update-alternatives --config mpirun, or module load openmpi on a cluster)"
    switch variable {
    case "OMPI_COMM_WORLD_SIZE":
      return (sentence, "use the mpirun of \(MPIEnvironment.libraryVersion.prefix { $0 != "," })")
    case "SLURM_STEP_NUM_TASKS":
      return (
        sentence,
        "submit Launch/slurm.sbatch, start mpirun in a batch job, or use srun --mpi=pmix where "
          + "srun --mpi=list has it"
      )
    default:
      return (sentence, "start them with \(mpirun), or unset \(variable) for jobs of one rank each")
    }
  }
}

/// Refuses ranks that are more than MPI sees; one of them says why.
///
/// - Parameter seen: how many MPI sees.
package func requireAllRanks(seen: Int) throws {
  guard let announced = AnnouncedRanks.ofThisProcess,
    let complaint = announced.complaint(seen: seen)
  else { return }
  guard announced.isSpeaker else {
    // Launchers end all ranks as soon as one has failed, and the first has to say why.
    sleep(1)
    throw AgreedFailure(message: nil)
  }
  throw AgreedFailure(message: "gyre: \(complaint.sentence); \(complaint.remedy).")
}
