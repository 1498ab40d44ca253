internal import COpenMPI

// Every MPI handle arrives in Swift as an `OpaquePointer?`, so that a datatype could be passed
// where a communicator is meant. Each kind has a type of its own here.

/// An `MPI_Comm`.
@safe struct CommunicatorHandle {
  let raw: MPI_Comm?
  init(_ raw: MPI_Comm?) { unsafe self.raw = unsafe raw }
}

/// An `MPI_Datatype`.
@safe struct DatatypeHandle {
  let raw: MPI_Datatype?
  init(_ raw: MPI_Datatype?) { unsafe self.raw = unsafe raw }
}

/// An `MPI_Op`.
@safe struct OperatorHandle {
  let raw: MPI_Op?
  init(_ raw: MPI_Op?) { unsafe self.raw = unsafe raw }
}

/// An `MPI_Win`.
@safe struct WindowHandle {
  let raw: MPI_Win?
  init(_ raw: MPI_Win?) { unsafe self.raw = unsafe raw }
}
