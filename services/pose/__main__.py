from common.service import run_service
from services.pose.service import run

if __name__ == "__main__":
    raise SystemExit(run_service("pose", run))
