"""`python -m ec2_lab.probe --lab NAME`: print every pair on which API and packets disagree."""

from __future__ import annotations

import argparse
import sys

import boto3

from ec2_lab.daemon import Endpoint
from ec2_lab.model import LabPaths
from ec2_lab.probe import disagreements


def main() -> None:
    parser = argparse.ArgumentParser(prog="ec2_lab.probe")
    parser.add_argument("--lab", required=True)
    paths = LabPaths(parser.parse_args().lab)
    endpoint = Endpoint.read(paths)
    ec2 = boto3.client(
        "ec2",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
    )
    found = disagreements(paths, ec2)
    for one in found:
        print(one)
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
