internal import COpenMPI
internal import Glibc

/// Says why on standard error and ends the whole job.
///
/// For what cannot be an error: memory that MPI may still write to is about to be freed. Ending
/// only this process would do the same a little later, since mpirun ends a job that loses a rank.
func stopProgram(_ sentence: String, exitCode: CInt = 1) -> Never {
  var rank: CInt = 0
  let isRunning = MPIEnvironment.isRunning
  if isRunning { unsafe MPI_Comm_rank(copenmpi_comm_world(), &rank) }
  writeToStandardError("MPI rank \(rank): \(sentence)\n")
  if isRunning { unsafe MPI_Abort(copenmpi_comm_world(), exitCode) }
  exit(exitCode)
}

/// Writes the text in one system call, so that the lines of several ranks do not mix.
private func writeToStandardError(_ text: String) {
  var text = text
  text.withUTF8 { bytes in
    _ = unsafe write(STDERR_FILENO, bytes.baseAddress, bytes.count)
  }
}
