// Calls of the API. What is refused is an error that says why, in the supervisor's words.

export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The supervisor answers ${status}`);
    this.status = status;
    this.code = problem.code;
  }
}

const leaving = new Set();

/** Calls `then` when somebody is found to be signed out. */
export const onSignedOut = (then) => leaving.add(then);

async function judged(response) {
  if (response.ok) return response;
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // Some proxy's answer: the status says enough.
  }
  if (response.status === 401) for (const then of leaving) then();
  throw new Refused(response.status, problem);
}

/** Opens something that is read piece by piece. */
export async function open(path, options = {}) {
  return judged(await fetch(path, { cache: "no-store", credentials: "same-origin", ...options }));
}

export async function get(path, signal) {
  return (await open(path, { signal })).json();
}

export async function send(method, path, body) {
  const response = await open(path, {
    method,
    headers: body === undefined ? {} : { "Content-Type": "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  return response.status === 204 ? null : response.json();
}

export const post = (path, body) => send("POST", path, body);

/** A name in a path. */
export const part = encodeURIComponent;
